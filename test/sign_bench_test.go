package test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// crowd adds n certificates to the CA below root. It does not sync them, to be fast.
func crowd(b *testing.B, root string, n int) {
	b.Helper()
	dir := filepath.Join(root, "etc/mail/CA")
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		block, _ := pem.Decode(data)
		return block.Bytes
	}
	ca, err := x509.ParseCertificate(read("cacert.pem"))
	if err != nil {
		b.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(read("cakey.pem"))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	end := now.AddDate(1, 0, 0)
	var rows strings.Builder
	have, err := os.ReadFile(filepath.Join(dir, "index.txt"))
	if err != nil {
		b.Fatal(err)
	}
	rows.Write(have)
	for i := range n {
		name := fmt.Sprintf("host%05d.example.test", i)
		der, err := x509.CreateCertificate(rand.Reader,
			&x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name},
				DNSNames: []string{name}, NotBefore: now, NotAfter: end}, ca, ca.PublicKey, key)
		if err != nil {
			b.Fatal(err)
		}
		serial := fmt.Sprintf("%X", i+2)
		if len(serial)%2 == 1 {
			serial = "0" + serial
		}
		fmt.Fprintf(&rows, "V\t%s\t\t%s\tunknown\t/CN=%s\n", end.Format("060102150405Z"), serial, name)
		if err := os.WriteFile(filepath.Join(dir, "newcerts", serial+".pem"),
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	serial := fmt.Sprintf("%X", n+2)
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	for name, text := range map[string]string{"index.txt": rows.String(), "serial": serial + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignProcess signs a request with `openssl ca` and with `mailcertd sign` in turn, each as a whole process, on
// one database of ten thousand certificates.
func BenchmarkSignProcess(b *testing.B) {
	m, root := bed.Binary(b, ""), siteWith(b, "ecdsa-p256")
	if out, code := command(m, root, "ca", "init"); code != 0 {
		b.Fatal(out)
	}
	crowd(b, root, 10_000)
	dir := filepath.Join(root, "etc/mail/CA")
	if out, code := command(m, root, "check"); strings.Contains(out, "ca-fault") {
		b.Fatalf("%d: %s", code, out)
	}
	var ours, theirs []time.Duration
	i := 0
	for b.Loop() {
		for _, sign := range []func(csr string) time.Duration{
			func(csr string) time.Duration {
				d := timed(b, m, "--root", root, "sign", "--yes", csr)
				ours = append(ours, d)
				return d
			},
			func(csr string) time.Duration {
				b.Chdir(dir) // so that no shell is needed
				d := timed(b, "openssl", "ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", csr,
					"-out", "/dev/null")
				theirs = append(theirs, d)
				return d
			},
		} {
			i++
			name := fmt.Sprintf("new%05d.example.test", i)
			csr := filepath.Join(root, "csr")
			if out, err := exec.Command("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
				"ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN="+name, "-addext",
				"subjectAltName=DNS:"+name, "-out", csr).CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			sign(csr)
		}
	}
	b.ReportMetric(median(ours), "mailcertd-ms")
	b.ReportMetric(median(theirs), "openssl-ms")
	b.ReportMetric(median(theirs)/median(ours), "x")
	b.ReportMetric(0, "ns/op")
}
