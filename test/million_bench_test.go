package test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// spent runs a command, whose exit status may be 1, and returns how long the whole process took by the clock and how
// much CPU time it used.
func spent(b *testing.B, dir string, argv ...string) (clock, cpu time.Duration) {
	b.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, io.Discard, &errs
	start := time.Now()
	if err := cmd.Run(); err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1) {
		b.Fatalf("%v: %v\n%s", argv, err, errs.String())
	}
	return time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// BenchmarkMillion runs the commands that read the CA's database in turn, with a new CA and with one of a million rows,
// and `openssl ca` on the same million rows.
func BenchmarkMillion(b *testing.B) {
	m := bed.Binary(b, "")
	small, great := siteWith(b, "ecdsa-p256"), siteWith(b, "ecdsa-p256")
	for _, root := range []string{small, great} {
		timed(b, m, "--root", root, "ensure")
	}
	if err := (bed.Crowd{Rows: 1_000_000, Revoked: 1000, Now: time.Now()}).Fill(
		filepath.Join(great, "etc/mail/CA")); err != nil {
		b.Fatal(err)
	}
	clocks, cpus := map[string][]time.Duration{}, map[string][]time.Duration{}
	note := func(what, dir string, argv ...string) {
		clock, cpu := spent(b, dir, argv...)
		clocks[what], cpus[what] = append(clocks[what], clock), append(cpus[what], cpu)
	}
	verbs := [][]string{{"ensure"}, {"check"}, {"status"}, {"list", "--json"}}
	i := 0
	for b.Loop() {
		for _, v := range verbs {
			note(v[0]+"-empty", small, append([]string{m, "--root", small}, v...)...)
			note(v[0], great, append([]string{m, "--root", great}, v...)...)
		}
		csr := func() string {
			i++
			path, name := filepath.Join(great, "csr"), fmt.Sprintf("new%05d.example.test", i)
			timed(b, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
				"-keyout", "/dev/null", "-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name, "-out", path)
			return path
		}
		asked := csr()
		syscall.Sync() // openssl leaves 57 MB of index.txt that nobody synced, for which a sign after it would wait
		note("sign", great, m, "--root", great, "sign", "--yes", asked)
		asked = csr()
		note("openssl-ca", filepath.Join(great, "etc/mail/CA"), "openssl", "ca", "-config", "openssl.cnf", "-batch",
			"-notext", "-in", asked, "-out", "/dev/null")
	}
	for what := range clocks {
		b.ReportMetric(median(clocks[what]), what+"-ms")
		b.ReportMetric(median(cpus[what]), what+"-cpu-ms")
	}
	b.ReportMetric(median(clocks["openssl-ca"])/median(clocks["sign"]), "x-sign")
	b.ReportMetric(0, "ns/op")
}
