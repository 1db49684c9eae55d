package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailcertd/test/bed"
)

const (
	conf  = "/etc/mail/mailcertd.yaml"
	certs = "/etc/mail/certs"
	caDir = "/etc/mail/CA"
	state = "/var/db/mailcertd"
)

// host is a mail host with its daemon. mta lets one restart of sendmail run at a time; the other fields are set before
// the storms or belong to the goroutine of the storms.
type host struct {
	*bed.Host
	s      *soak
	short  string // a or b
	m      string // path of mailcertd
	d      *daemon
	steady bool       // its daemon is not killed after the first quarter, so that its memory can be compared
	mta    sync.Mutex // one restart of sendmail at a time
	yaml   string
	hups   int // HUPs that the test sent to sendmail itself
}

// mtaArgs start sendmail. It runs the queue often, because the peer is unreachable for moments all the time.
var mtaArgs = []string{bed.Sendmail, "-L", "sm-mta", "-bd", "-q15s"}

const common = `log: {level: info, target: syslog}
sendmail: {start_command: [/usr/sbin/sendmail, -L, sm-mta, -bd, -q15s]}
`

// hosts makes the CA host and its member, and waits until mail between them is verified.
func (s *soak) hosts() {
	t, names := s.t, []string{bed.Names["10.99.0.1"], bed.Names["10.99.0.2"]}
	verified := "@FEATURE(`access_db', `hash /etc/mail/access')"
	s.a = &host{Host: bed.NewSmallHost(t, names[0], "10.99.0.1", "32m", verified), s: s, short: "a",
		yaml: "key: {type: ecdsa-p256}\n" + common}
	s.b = &host{Host: bed.NewSmallHost(t, names[1], "10.99.0.2", "32m", verified), s: s, short: "b", yaml: `issuer:
  ssh: {target: mailcertd@10.99.0.1, identity: /etc/mail/ssh/id, known_hosts: /etc/mail/ssh/known_hosts}
` + common}
	bed.Connect(t, s.a.Host, s.b.Host)
	for _, h := range []*host{s.a, s.b} {
		h.m = bed.Binary(t, "")
		h.put(conf, h.yaml)
		var access strings.Builder
		for _, name := range names {
			if name != h.Name {
				access.WriteString("TLS_Srv:" + name + "\tVERIFY\nTLS_Clt:" + name + "\tVERIFY\n")
			}
		}
		h.put("/etc/mail/access", access.String())
		h.Must(t, "sh", "-c", "/usr/libexec/sendmail/makemap hash /etc/mail/access </etc/mail/access")
	}
	s.a.steady = s.seed%2 == 0
	s.b.steady = !s.a.steady
	s.a.Must(t, s.a.m, "--config", conf, "ensure")
	known := s.a.SSHD(t)
	pub := s.b.SSHKey(t, "/etc/mail/ssh/id")
	s.b.put("/etc/mail/ssh/known_hosts", known)
	s.a.put("/etc/mail/b.pub", pub+"\n")
	out := s.a.Must(t, s.a.m, "--config", conf, "ca", "enrol", names[1], "--from", s.b.IP, "--key", "/etc/mail/b.pub")
	s.a.put("/etc/mail/ssh/authorized_keys", regexp.MustCompile(`(?m)^restrict,.*$`).FindString(out)+"\n")
	s.b.Run(s.b.m, "--config", conf, "ensure") // makes an interim certificate
	for i, h := range []*host{s.a, s.b} {
		h.Start(t, mtaArgs...)
		h.d = newDaemon(h, s.seed+uint64(i))
		h.d.start()
	}
	bed.Wait(t, "the member's certificate", func() error {
		if out, code := s.b.Run(s.b.m, "--config", conf, "check"); code != 0 {
			return fmt.Errorf("%s", out)
		}
		return s.b.served()
	})
}

func (h *host) put(path, text string) {
	if err := os.WriteFile(h.Path(path), []byte(text), 0o644); err != nil {
		h.s.note("%s: %v", h.short, err)
	}
}

// mailcertd runs a command and notes it in the diary.
func (h *host) mailcertd(args ...string) (out string, code int) {
	begin := time.Now()
	out, code = h.Run(append([]string{"timeout", "-k", "5", "240", h.m, "--config", conf}, args...)...)
	h.s.note("%s: mailcertd %s: status %d after %s\n%s", h.short, strings.Join(args, " "), code,
		time.Since(begin).Round(time.Millisecond), indent(out))
	switch {
	case strings.Contains(out, "panic:") || strings.Contains(out, "goroutine "):
		h.s.violated("%s: mailcertd %s panics:\n%s", h.short, strings.Join(args, " "), out)
	case code == 124:
		h.s.violated("%s: mailcertd %s does not end within four minutes:\n%s", h.short, strings.Join(args, " "), out)
	}
	return out, code
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

// served returns an error unless sendmail serves the certificate on the disk.
func (h *host) served() error {
	disk, is := h.onDisk(), h.Serial("127.0.0.1:25")
	if disk == "" || disk != is {
		return fmt.Errorf("%s: host.cert has the serial %q, sendmail serves %q", h.short, disk, is)
	}
	return nil
}

// onDisk is the serial in host.cert, which may have any content.
func (h *host) onDisk() string {
	if !regular(h.Path(certs + "/host.cert")) {
		return ""
	}
	return h.OnDisk(h.s.t)
}

func (h *host) listens() error {
	if out, code := h.Run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/25"); code != 0 {
		return fmt.Errorf("%s: sendmail does not listen: %s", h.short, strings.TrimSpace(out))
	}
	return nil
}

// restart does what `service sendmail restart` does, with a pause between stop and start.
func (h *host) restart(away time.Duration) {
	h.mta.Lock()
	defer h.mta.Unlock()
	err := h.s.until(20*time.Second, 20*time.Millisecond, func() error {
		if h.listens() != nil {
			return nil
		}
		if pid := h.PID(); pid > 1 { // another process than before, if sendmail has just restarted itself
			h.Run("kill", strconv.Itoa(pid))
		}
		return fmt.Errorf("%s: sendmail does not stop", h.short)
	})
	h.s.pause(away)
	if err != nil {
		h.s.note("%v", err)
	}
	if h.listens() != nil {
		out, code := h.Run(mtaArgs...)
		h.s.note("%s: sendmail started: %d %s", h.short, code, out)
	}
	if err := h.s.until(20*time.Second, 20*time.Millisecond, h.listens); err != nil && h.s.ok() {
		h.s.violated("%v, 20 s after its start", err)
	}
}

// daemon is `mailcertd run` of the build for crash tests, with a watch on its end. mu guards err and the field ours of
// its processes.
type daemon struct {
	h    *host
	seed uint64
	ctl  string // a path on the host
	err  strings.Builder
	mu   sync.Mutex
	proc *process // nil: none runs
	runs int
}

// process is one run of the daemon.
type process struct {
	pid     int // in this machine's numbers
	nsenter int // its parent nsenter(1), which stops when it stops
	run     int
	ours    bool // the test ends it, so its end is no violation
	ended   chan struct{}
	samples []sample
}

// sample is what a process holds while nothing happens: rss in kB, heap in octets, numbers of descriptors and
// goroutines.
type sample struct {
	quarter                   int
	rss, heap, fds, goroutine int
}

func newDaemon(h *host, seed uint64) *daemon {
	return &daemon{h: h, seed: seed, ctl: "/run/soak"}
}

func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err.Write(b)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err.String()
}

// start starts the daemon. Its end is a violation unless ends was called.
func (d *daemon) start() {
	h := d.h
	d.runs++
	h.put(d.ctl, "0\n")
	cmd := h.Command(bed.Binary(h.s.t, "crashpoints"), "--config", conf, "run")
	cmd.Env = append(os.Environ(), fmt.Sprintf("MAILCERTD_SOAK=%d %s", d.seed+uint64(d.runs)*1000, d.ctl))
	cmd.Stdout, cmd.Stderr = d, d
	if err := cmd.Start(); err != nil {
		h.s.violated("%s: the daemon: %v", h.short, err)
		return
	}
	p := &process{run: d.runs, nsenter: cmd.Process.Pid, ended: make(chan struct{})}
	d.proc = p
	go func() {
		err := cmd.Wait()
		d.mu.Lock()
		ours, said := p.ours, d.err.String()
		d.mu.Unlock()
		if !ours && h.s.ok() {
			h.s.violated("%s: the daemon ended by itself: %v\n%s", h.short, err, said)
		}
		close(p.ended)
	}()
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	bed.Wait(h.s.t, "the daemon's process", func() error {
		b, err := os.ReadFile(children)
		if err == nil {
			p.pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		if err == nil && !ready(p.pid) { // a signal would end it
			err = fmt.Errorf("process %d is not mailcertd yet", p.pid)
		}
		return err
	})
	h.s.t.Cleanup(func() { d.ends(p) })
}

// ready reports whether the daemon watches files. It has installed its signal handlers before that. /proc does not show
// them, because Go's runtime handles all signals from the start.
func ready(pid int) bool {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return slices.ContainsFunc(fds, func(f os.DirEntry) bool {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, f.Name()))
		return strings.Contains(to, "inotify")
	})
}

// ends says that the end of p will be no violation.
func (d *daemon) ends(p *process) {
	d.mu.Lock()
	p.ours = true
	d.mu.Unlock()
}

// faults makes so many of a thousand operations fail, and returns the daemon's goroutines and heap.
func (d *daemon) faults(permille int) (goroutines, heap int, err error) {
	p := d.proc
	if p == nil { // none runs, and the next one starts without faults
		return 0, 0, nil
	}
	said := d.h.Path(d.ctl + ".said")
	_ = os.Remove(said)
	d.h.put(d.ctl, fmt.Sprintf("%d\n", permille))
	err = d.h.s.until(30*time.Second, 10*time.Millisecond, func() error {
		d.signal("CONT") // it may be stopped by SIGSTOP
		d.signal("USR1")
		time.Sleep(20 * time.Millisecond)
		b, err := os.ReadFile(said)
		if err != nil {
			return fmt.Errorf("%s: the daemon does not answer: %w", d.h.short, err)
		}
		var is, hits int
		_, err = fmt.Sscan(string(b), &is, &hits, &goroutines, &heap)
		if err == nil && is != permille {
			err = fmt.Errorf("%s: the daemon still lets %d fail", d.h.short, is)
		}
		return err
	})
	return goroutines, heap, err
}

// sample measures the process while nothing happens.
func (d *daemon) sample(quarter int) (x sample, err error) {
	p := d.proc
	if x.goroutine, x.heap, err = d.faults(0); err != nil {
		return x, err
	}
	x.quarter, x.rss = quarter, residentOf(p.pid)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	x.fds = len(fds)
	p.samples = append(p.samples, x)
	return x, err
}

// residentOf is the resident memory of a process, in kB.
func residentOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if m := regexp.MustCompile(`VmRSS:\s+(\d+)`).FindSubmatch(b); m != nil {
		n, _ := strconv.Atoi(string(m[1]))
		return n
	}
	return 0
}

// busy is the CPU time that a process has used.
func busy(pid int) time.Duration {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	u, _ := strconv.Atoi(f[11])
	k, _ := strconv.Atoi(f[12])
	return time.Duration(u+k) * 10 * time.Millisecond
}
