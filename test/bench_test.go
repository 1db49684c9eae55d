package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// timed runs a command and returns how long the whole process took.
func timed(b *testing.B, argv ...string) time.Duration {
	b.Helper()
	start := time.Now()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return time.Since(start)
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}

func siteWith(b *testing.B, keyType string) string {
	root := b.TempDir()
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	_ = os.MkdirAll(filepath.Dir(conf), 0o755)
	if err := os.WriteFile(conf, []byte("host: {name: mail.example.test}\nkey: {type: "+keyType+"}\n"),
		0o644); err != nil {
		b.Fatal(err)
	}
	return root
}

// BenchmarkFirstBoot runs the base stanza's openssl commands and `ensure` in turn, each on an empty root. It reports
// the ratios of the medians.
func BenchmarkFirstBoot(b *testing.B) {
	m := bed.Binary(b, "")
	var stanza, rsa, ecdsa []time.Duration
	for b.Loop() {
		stanza = append(stanza, timed(b, "sh", "../scripts/stanza.sh", b.TempDir()))
		rsa = append(rsa, timed(b, m, "--root", siteWith(b, "rsa-2048"), "ensure"))
		ecdsa = append(ecdsa, timed(b, m, "--root", siteWith(b, "ecdsa-p256"), "ensure"))
	}
	b.ReportMetric(median(stanza), "stanza-ms")
	b.ReportMetric(median(rsa), "rsa-ms")
	b.ReportMetric(median(ecdsa), "ecdsa-ms")
	b.ReportMetric(median(stanza)/median(rsa), "x-rsa")
	b.ReportMetric(median(stanza)/median(ecdsa), "x-ecdsa")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkComplete runs ensure on a root where nothing is to be done.
func BenchmarkComplete(b *testing.B) {
	m, root := bed.Binary(b, ""), siteWith(b, "rsa-2048")
	timed(b, m, "--root", root, "ensure")
	var d []time.Duration
	for b.Loop() {
		d = append(d, timed(b, m, "--root", root, "ensure"))
	}
	b.ReportMetric(median(d), "median-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStart runs the command that does least and true(1) in turn. The difference is the time that every command
// takes to start.
func BenchmarkStart(b *testing.B) {
	m := bed.Binary(b, "")
	var verb, nothing []time.Duration
	for b.Loop() {
		verb, nothing = append(verb, timed(b, m, "version")), append(nothing, timed(b, "true"))
	}
	b.ReportMetric(median(verb), "version-ms")
	b.ReportMetric(median(nothing), "true-ms")
	b.ReportMetric(0, "ns/op")
}

// until polls until ok returns true, and returns how long that took. It fails after 30 seconds.
func until(b *testing.B, ok func() bool) time.Duration {
	start := time.Now()
	for !ok() {
		if time.Since(start) > 30*time.Second {
			b.Fatal("nothing within 30 s")
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

func daemonOf(b *testing.B, root string) *exec.Cmd {
	cmd := exec.Command(bed.Binary(b, ""), "--root", root, "--log-level", "error", "run")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	until(b, func() bool { _, err := os.Stat(filepath.Join(root, "etc/mail/certs/dh.param")); return err == nil })
	time.Sleep(time.Second)
	return cmd
}

// BenchmarkReturn deletes host.cert while a daemon runs and measures how long the daemon takes to restore it.
func BenchmarkReturn(b *testing.B) {
	root := siteWith(b, "ecdsa-p256")
	daemonOf(b, root)
	cert := filepath.Join(root, "etc/mail/certs/host.cert")
	var d []time.Duration
	for b.Loop() {
		if err := os.Remove(cert); err != nil {
			b.Fatal(err)
		}
		d = append(d, until(b, func() bool { _, err := os.Stat(cert); return err == nil }))
		time.Sleep(300 * time.Millisecond)
	}
	b.ReportMetric(median(d), "median-ms")
	b.ReportMetric(float64(d[len(d)-1].Milliseconds()), "worst-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRenew measures `renew` with a real sendmail: it returns when port 25 serves the new certificate.
func BenchmarkRenew(b *testing.B) {
	h := bed.NewHost(b, "mail-a.example.test", "10.99.0.1")
	m := bed.Binary(b, "")
	h.Must(b, m, "ensure")
	h.Start(b)
	var d []time.Duration
	for b.Loop() {
		start := time.Now()
		if out := h.Must(b, m, "renew"); !strings.Contains(out, "sendmail serves serial") {
			b.Fatal(out)
		}
		d = append(d, time.Since(start))
	}
	b.ReportMetric(median(d), "median-ms")
	b.ReportMetric(float64(d[len(d)-1].Milliseconds()), "worst-ms")
	b.ReportMetric(0, "ns/op")
}

// usage returns the CPU time and the resident memory (in MiB) of a process, from /proc.
func usage(b *testing.B, pid int) (cpu time.Duration, rss float64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if len(tasks) == 0 {
		b.Skip("needs /proc with schedstat")
	}
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		ns, _, _ := strings.Cut(string(data), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		cpu += time.Duration(n)
	}
	statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	pages, _ := strconv.Atoi(strings.Fields(string(statm))[1])
	return cpu, float64(pages*os.Getpagesize()) / (1 << 20)
}

// BenchmarkDaemon measures the CPU time that an idle daemon takes in a day, its resident memory, and how much the
// memory grows over 10,000 changes, after 2,000 changes to warm up. It takes three minutes.
func BenchmarkDaemon(b *testing.B) {
	root := siteWith(b, "ecdsa-p256")
	cmd := daemonOf(b, root)
	const rest = 4 * time.Minute
	changes := func(n int) {
		for i := range n {
			if err := os.WriteFile(filepath.Join(root, "etc/mail/certs/extra"), []byte(strconv.Itoa(i)),
				0o644); err != nil {
				b.Fatal(err)
			}
			if i%100 == 0 {
				time.Sleep(250 * time.Millisecond) // so that each hundred changes cause a look of their own
			}
		}
	}
	for b.Loop() {
		before, _ := usage(b, cmd.Process.Pid)
		time.Sleep(rest)
		after, rss := usage(b, cmd.Process.Pid)
		b.ReportMetric((after-before).Seconds()*float64(24*time.Hour/rest), "cpu-s/day")
		b.ReportMetric(rss, "rss-MiB")
		changes(2000)
		_, warm := usage(b, cmd.Process.Pid)
		changes(10000)
		_, end := usage(b, cmd.Process.Pid)
		b.ReportMetric(warm, "rss-MiB-warm")
		b.ReportMetric(end, "rss-MiB-after")
	}
	b.ReportMetric(0, "ns/op")
}
