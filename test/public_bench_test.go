package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// legoHook gives the deploy hook of the page what certbot would give it.
const legoHook = `#!/bin/sh -e
RENEWED_LINEAGE=/var/db/lego/live; export RENEWED_LINEAGE
mkdir -p $RENEWED_LINEAGE
cp "$LEGO_CERT_KEY_PATH" $RENEWED_LINEAGE/privkey.pem
openssl x509 -in "$LEGO_CERT_PATH" -out $RENEWED_LINEAGE/cert.pem
cp "${LEGO_CERT_PATH%.crt}.issuer.crt" $RENEWED_LINEAGE/chain.pem
exec sh -e /var/db/hook
`

// client is an ACME client as an owner sets it up: what gets the first certificate and what renews it. Each keeps its
// key, and each has the same kind of key.
type client struct {
	name         string
	first, renew []string
	wall, cpu    []time.Duration
	memory       []float64 // MiB
}

// BenchmarkPublic renews a certificate with certbot, lego and mailcertd in turn, at the same Pebble and for the same
// sendmail: from "it is due" until sendmail serves the new certificate. CPU time and peak memory are those of the
// program with all that it starts, from time(1). certbot and lego have the deploy hook of docs/lets-encrypt.md. All
// of them read a file with the system's public CAs to verify the CA's https, as they do at Let's Encrypt.
func BenchmarkPublic(b *testing.B) {
	bed.Need(b, true, "certbot", "lego", "/usr/bin/time", "openssl")
	h := bed.NewHost(b, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(b, ""), bed.NewPebble(b, bed.PebbleOptions{Host: h, Env: []string{"PEBBLE_WFE_NONCEREJECT=0"}})
	put := func(path, text string, mode os.FileMode) {
		if err := os.WriteFile(h.Path(path), []byte(text), mode); err != nil {
			b.Fatal(err)
		}
	}
	put("/var/db/hook", deployHook(b), 0o755)
	put("/var/db/lego-hook", legoHook, 0o755)
	put("/etc/mail/mailcertd.yaml", "issuer:\n  acme: {directory: '"+p.Directory+"', agree_tos: true}\n"+
		"key: {type: ecdsa-p256}\nclient: {issuer: local}\n", 0o644)
	h.Must(b, "sh", "-c", "cat /etc/ssl/certs/ca-certificates.crt "+p.CAFile+" > /var/db/roots.pem")
	const goRoots = "SSL_CERT_FILE=/var/db/roots.pem"
	certbot := func(args ...string) []string {
		return append([]string{"env", "REQUESTS_CA_BUNDLE=/var/db/roots.pem", "certbot", "-q", "-n", "--server",
			p.Directory, "--config-dir", "/var/db/certbot", "--work-dir", "/var/db/certbot/work", "--logs-dir",
			"/var/db/certbot/log"}, args...)
	}
	lego := func(args ...string) []string {
		return append([]string{"env", goRoots, "lego", "--server", p.Directory, "--path",
			"/var/db/lego", "--email", "postmaster@" + h.Name, "--accept-tos", "--http", "--domains", h.Name}, args...)
	}
	ours := func(args ...string) []string {
		return append([]string{"env", goRoots, m, publicConf, "--log-level", "error"}, args...)
	}
	clients := []*client{
		{name: "certbot", first: certbot("certonly", "--standalone", "--agree-tos", "--register-unsafely-without-email",
			"--reuse-key", "-d", h.Name, "--deploy-hook", "/var/db/hook"),
			renew: certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")},
		{name: "lego", first: lego("run", "--run-hook", "/var/db/lego-hook"),
			renew: lego("renew", "--days", "1000", "--reuse-key", "--no-random-sleep", "--renew-hook",
				"/var/db/lego-hook")},
		{name: "mailcertd", first: ours("renew"), renew: ours("renew")},
	}

	// Each has a directory of certificates of its own, which is put into place before it begins.
	certs := h.Path("/etc/mail/certs")
	place := func(c *client, in bool) {
		b.Helper()
		from, to := certs+"."+c.name, certs
		if !in {
			h.Stop()
			from, to = to, from
		}
		if err := os.Rename(from, to); err != nil {
			b.Fatal(err)
		}
		if in {
			h.Start(b)
		}
	}
	for _, c := range clients {
		h.Run(ours("ensure")...) // every sendmail starts with an interim certificate and all other files
		h.Start(b)
		h.Must(b, c.first...)
		place(c, false)
		if c.name != "mailcertd" {
			h.Must(b, "rm", "-rf", "/var/db/mailcertd")
		}
	}
	for b.Loop() {
		for _, c := range clients {
			place(c, true)
			placed, _ := filepath.Glob(h.Path("/var/db/mailcertd/acme/*.placed")) // five orders a day and no more
			for _, name := range placed {
				_ = os.Remove(name)
			}
			old := h.OnDisk(b)
			begun := time.Now()
			h.Must(b, append([]string{"/usr/bin/time", "-q", "-o", "/var/tmp/time", "-f", "%U %S %M"}, c.renew...)...)
			bed.Wait(b, c.name, func() error {
				if s := h.Serial("127.0.0.1:25"); s == "" || s == old || s != h.OnDisk(b) {
					return fmt.Errorf("serves %q, before %q", s, old)
				}
				return nil
			})
			c.wall = append(c.wall, time.Since(begun))
			var user, system, kib float64
			said, _ := os.ReadFile(h.Path("/var/tmp/time"))
			if _, err := fmt.Sscan(string(said), &user, &system, &kib); err != nil {
				b.Fatalf("%v: %q", err, said)
			}
			c.cpu = append(c.cpu, time.Duration((user+system)*float64(time.Second)))
			c.memory = append(c.memory, kib/1024)
			place(c, false)
		}
	}
	for _, c := range clients {
		slices.Sort(c.memory)
		b.ReportMetric(median(c.wall), c.name+"-ms")
		b.ReportMetric(float64(c.wall[len(c.wall)-1].Milliseconds()), c.name+"-worst-ms")
		b.ReportMetric(median(c.cpu), c.name+"-cpu-ms")
		b.ReportMetric(c.memory[len(c.memory)-1], c.name+"-MiB")
	}
	b.ReportMetric(median(clients[0].wall)/median(clients[2].wall), "x-certbot")
	b.ReportMetric(median(clients[1].wall)/median(clients[2].wall), "x-lego")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPublicDaemon: the resident memory of a daemon that has ordered its certificate itself, at its peak, and a
// minute and five later.
func BenchmarkPublicDaemon(b *testing.B) {
	h := bed.NewHost(b, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(b, ""), bed.NewPebble(b, bed.PebbleOptions{Host: h})
	if err := os.WriteFile(h.Path("/etc/mail/mailcertd.yaml"), []byte(publicYAML(p)), 0o644); err != nil {
		b.Fatal(err)
	}
	h.Run(m, publicConf, "ensure")
	h.Start(b)
	interim := h.OnDisk(b)
	memory := func(field string) (mib float64) {
		out := h.Must(b, "grep", field+":", "/proc/"+daemonPID(b, h)+"/status")
		if _, err := fmt.Sscanf(out, field+": %f kB", &mib); err != nil {
			b.Fatalf("%v: %q", err, out)
		}
		return mib / 1024
	}
	for b.Loop() {
		h.Daemon(b, m, publicConf, "run")
		bed.Wait(b, "the public certificate", func() error {
			if s := h.Serial("127.0.0.1:25"); s == "" || s == interim || s != h.OnDisk(b) {
				return fmt.Errorf("serves %q", s)
			}
			return nil
		})
		b.ReportMetric(memory("VmHWM"), "peak-MiB")
		time.Sleep(time.Minute)
		b.ReportMetric(memory("VmRSS"), "MiB-after-1-min")
		time.Sleep(4 * time.Minute)
		b.ReportMetric(memory("VmRSS"), "MiB-after-5-min")
	}
	b.ReportMetric(0, "ns/op")
}

// deployHook is the script that docs/lets-encrypt.md gives certbot.
func deployHook(b *testing.B) string {
	data, err := os.ReadFile(encryptPage)
	_, hook, has := strings.Cut(string(data), "deploy/sendmail <<'END'\n")
	hook, _, _ = strings.Cut(hook, "\nEND\n")
	if err != nil || !has {
		b.Fatalf("%s has no deploy hook: %v", encryptPage, err)
	}
	return hook + "\n"
}
