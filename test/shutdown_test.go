package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// soon is how long stopping the daemon may take. rc.shutdown(8) gives all services together 90 seconds.
const soon = 2 * time.Second

// newHostRC installs the service script and the real program on a host of its own.
func newHostRC(t *testing.T, yaml string) (*rc, *bed.Host) {
	t.Helper()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	r := newRC(t)
	r.real()
	r.on = h
	write(t, filepath.Join(r.dir, "etc/mailcertd.yaml"),
		"key: {type: ecdsa-p256}\nlog: {level: debug, target: syslog}\n"+yaml, 0o644)
	return r, h
}

// verb is the command line that runs mailcertd on the host, with the configuration of the script.
func (r *rc) verb(args ...string) []string {
	return append([]string{r.dir + "/sbin/mailcertd", "--config", r.dir + "/etc/mailcertd.yaml"}, args...)
}

// says waits until the host's log contains what.
func says(t *testing.T, h *bed.Host, what string) {
	t.Helper()
	bed.Wait(t, what, func() error {
		if !strings.Contains(h.Log(), what) {
			return errors.New(h.Log())
		}
		return nil
	})
}

// processes lists the commands that run on the host.
func processes(t *testing.T, h *bed.Host) string {
	t.Helper()
	return h.Must(t, "ps", "-axww", "-o", "pid=,stat=,args=")
}

// running waits until a command that contains what runs on the host.
func running(t *testing.T, h *bed.Host, what string) {
	t.Helper()
	bed.Wait(t, what, func() error {
		if p := processes(t, h); !strings.Contains(p, what) {
			return errors.New(p)
		}
		return nil
	})
}

// gone checks that none of these processes is left, and that no directory is locked.
func gone(t *testing.T, h *bed.Host, what ...string) {
	t.Helper()
	for line := range strings.SplitSeq(processes(t, h), "\n") {
		for _, w := range what {
			if strings.Contains(line, w) && !strings.Contains(line, "ps -axww") {
				t.Errorf("left behind: %s", line)
			}
		}
	}
	for _, dir := range []string{"/etc/mail/certs", "/var/db/mailcertd"} {
		if out, code := h.Run("flock", "-n", dir, "true"); code != 0 {
			t.Errorf("%s is locked: %s", dir, out)
		}
	}
}

// blackhole makes an address on the host's network that never answers.
func blackhole(t *testing.T, h *bed.Host) string {
	t.Helper()
	h.Must(t, "ip", "link", "add", "hole0", "type", "veth", "peer", "name", "hole1")
	h.Must(t, "ip", "link", "set", "hole1", "up")
	h.Must(t, "ip", "link", "set", "hole0", "up")
	h.Must(t, "ip", "addr", "add", "10.98.0.1/24", "dev", "hole0")
	h.Must(t, "ip", "neigh", "add", "10.98.0.2", "lladdr", "02:00:00:00:00:02", "dev", "hole0")
	return "10.98.0.2"
}

// notified makes the daemon run the command with sh for `notify`; the command must end in a sleep of its own.
func notified(t *testing.T, r *rc, h *bed.Host, command string) {
	t.Helper()
	says(t, h, "looked")
	conf := filepath.Join(r.dir, "etc/mailcertd.yaml")
	appendFile(t, conf, "notify: [[sh, -c, \""+command+"\"]]\n")
	r.want(0, "is correct", "reload")
	says(t, h, "configuration read")
	if err := os.Remove(h.Path("/etc/mail/certs/host.key")); err != nil {
		t.Fatal(err)
	}
	running(t, h, regexp.MustCompile(`sleep \d+`).FindString(command)+"\n")
}

// Whatever the daemon waits for, it ends within two seconds and leaves nothing behind: no supervisor, no ssh, no
// command that it ran, no lock.
func TestShutdownIsSoon(t *testing.T) {
	bed.Need(t, true, "flock", "ssh", "ssh-keygen", "ip", "perl")
	for _, c := range []struct {
		name string
		yaml string
		wait func(*testing.T, *rc, *bed.Host) // makes the daemon wait for something
		left []string                         // the processes that must be gone afterwards
	}{
		{"idle", "", func(t *testing.T, _ *rc, h *bed.Host) { says(t, h, "looked") }, nil},
		{"ssh over a dead network",
			"issuer: {ssh: {target: mailcertd@10.98.0.2, identity: /etc/mail/ssh/id, known_hosts: " +
				"/etc/mail/ssh/known_hosts}}\n",
			func(t *testing.T, _ *rc, h *bed.Host) { running(t, h, "mailcertd@10.98.0.2") }, []string{"ssh"}},
		{"sendmail's proof", "sendmail: {probe: 127.0.0.1:2525}\n",
			func(t *testing.T, _ *rc, h *bed.Host) {
				says(t, h, "looked")
				if err := os.Remove(h.Path("/etc/mail/certs/host.key")); err != nil {
					t.Fatal(err)
				}
				says(t, h, "sent HUP to sendmail")
				bed.Wait(t, "the question", func() error {
					if out := h.Must(t, "cat", "/var/db/accepted"); out == "" {
						return errors.New("nobody asked")
					}
					return nil
				})
			}, nil},
		{"a notify command", "", func(t *testing.T, r *rc, h *bed.Host) { notified(t, r, h, "sleep 1001; :") },
			[]string{"sleep 1001"}},
		{"a notify command that ignores SIGTERM", "", func(t *testing.T, r *rc, h *bed.Host) {
			notified(t, r, h, "trap '' TERM; sleep 1002; :")
		}, []string{"sleep 1002"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, h := newHostRC(t, c.yaml)
			blackhole(t, h)
			h.SSHKey(t, "/etc/mail/ssh/id")
			write(t, h.Path("/etc/mail/ssh/known_hosts"), "", 0o644)
			write(t, h.Path("/var/db/accepted"), "", 0o644)
			h.Must(t, "sh", "-c", `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:2525", Listen => 5) or die;
while ($c = $s->accept) { push @c, $c; open(F, ">>/var/db/accepted"); print F "x\n"; close F }' >/dev/null 2>&1 &`)
			r.run("start")
			h.Start(t)
			c.wait(t, r, h)
			start := time.Now()
			r.want(0, "Stopping", "faststop")
			if took := time.Since(start); took > soon {
				t.Errorf("it took %s\n%s", took, h.Log())
			}
			gone(t, h, append(c.left, r.dir+"/sbin/mailcertd", "daemon: mailcertd")...)
			says(t, h, "stopped")
		})
	}
}

// A renew that a person runs ends as fast, by Ctrl-C and by SIGTERM.
func TestRenewIsInterrupted(t *testing.T) {
	bed.Need(t, true, "flock", "ssh", "ssh-keygen", "ip")
	r, h := newHostRC(t,
		"issuer: {ssh: {target: mailcertd@10.98.0.2, identity: /etc/mail/ssh/id, known_hosts: "+
			"/etc/mail/ssh/known_hosts}}\n")
	blackhole(t, h)
	h.SSHKey(t, "/etc/mail/ssh/id")
	write(t, h.Path("/etc/mail/ssh/known_hosts"), "", 0o644)
	for _, sig := range []string{"TERM", "INT"} {
		cmd := h.Command(r.verb("renew")...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running(t, h, "mailcertd@10.98.0.2")
		start := time.Now()
		h.Must(t, "sh", "-c",
			fmt.Sprintf("kill -%s $(ps -axww -o pid=,args= | awk '$2 == \"%s/sbin/mailcertd\" { print $1 }')", sig,
				r.dir))
		err := cmd.Wait()
		if took := time.Since(start); took > soon || err == nil {
			t.Errorf("%s: %v after %s", sig, err, took)
		}
		gone(t, h, "ssh", r.dir+"/sbin/mailcertd")
	}
}

// Stopping, starting and killing the daemon must not affect sendmail.
func TestRestartLeavesSendmailAlone(t *testing.T) {
	r, h := newHostRC(t, "")
	r.set(`mailcertd_enable="YES"`, `mailcertd_restart_delay="1"`)
	r.want(0, "Starting", "start")
	h.Start(t)
	says(t, h, "looked")
	pid, serial := h.PID(), h.Serial("127.0.0.1:25")
	looks := func(starts int) { // a daemon that is ended during its look logs nothing about it
		bed.Wait(t, "its look", func() error {
			if s, l := strings.Count(h.Log(), "started: version"),
				strings.Count(h.Log(), "looked"); s < starts || l < s {
				return fmt.Errorf("%d starts, %d looks\n%s", s, l, h.Log())
			}
			return nil
		})
	}
	for n := range 2 {
		r.want(0, "Starting", "restart")
		looks(n + 2)
	}
	before := r.pid("mailcertd.pid")
	h.Must(t, "kill", "-KILL", fmt.Sprint(before))
	bed.Wait(t, "the daemon to come back", func() error {
		if p := r.pid("mailcertd.pid"); p == 0 || p == before {
			return errors.New("the old pid")
		}
		return nil
	})
	looks(4)
	r.want(0, "running as pid", "status")
	if h.PID() != pid || h.Serial("127.0.0.1:25") != serial || strings.Contains(h.Log(), "restarting") ||
		strings.Contains(h.Log(), "sent HUP") {
		t.Errorf("sendmail %d became %d\n%s", pid, h.PID(), h.Log())
	}
	r.want(0, "serves serial ", "renew", "--rekey", "--now") // this renewal sends the HUP
	r.want(0, "Stopping", "stop")
	if !h.Alive(h.PID()) {
		t.Error("sendmail is gone")
	}
}

// Under daemon(8) nobody sees the errors that `run` prints about a wrong configuration, so they must be in the log. A
// restart with a wrong configuration must not stop the daemon that runs.
func TestWrongConfiguration(t *testing.T) {
	r, h := newHostRC(t, "")
	r.want(0, "Starting mailcertd", "start")
	says(t, h, "started")
	conf := filepath.Join(r.dir, "etc/mailcertd.yaml")
	good, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, conf, "hots: {name: a.example.test}\n", 0o644)
	r.want(1, `did you mean "host"`, "restart")
	r.want(0, "running as pid", "status")
	r.want(0, "Stopping mailcertd", "stop")
	r.want(1, "not started: correct the configuration", "start")
	r.want(1, "not running", "status")
	before := strings.Count(h.Log(), "hots")
	if b, err := h.Command(r.verb("run")...).CombinedOutput(); err == nil || !strings.Contains(string(b), "hots") {
		t.Errorf("%v\n%s", err, b)
	}
	says(t, h, "not started: the configuration has errors")
	if n := strings.Count(h.Log(), "hots"); n != before+1 {
		t.Errorf("%d lines name it:\n%s", n-before, h.Log())
	}
	write(t, conf, string(good), 0o644)
	r.want(0, "Starting mailcertd", "start")
	r.want(0, "Stopping mailcertd", "stop")
}
