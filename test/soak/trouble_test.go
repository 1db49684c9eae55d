package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mailcertd/test/bed"
)

// trouble is one thing that happens to a host. It draws from the dice before it returns, so that the seed repeats it.
type trouble struct {
	name   string
	weight int
	where  string // a, b or ab
	// do starts the trouble. It returns what ends it, nil where nothing has to, and after which time.
	do func(h *host, dice *rand.Rand) (undo func(), after time.Duration)
}

// once is a trouble that ends at once. what names the file that it changed.
func once(f func(h *host, dice *rand.Rand) (what string, err error)) func(*host, *rand.Rand) (func(), time.Duration) {
	return func(h *host, dice *rand.Rand) (func(), time.Duration) {
		what, err := f(h, dice)
		h.s.note("%s:   %s %v", h.short, what, err)
		return nil, 0
	}
}

// verb runs mailcertd while the storm goes on.
func verb(args ...string) func(*host, *rand.Rand) (func(), time.Duration) {
	return func(h *host, _ *rand.Rand) (func(), time.Duration) {
		h.s.beside(func() { h.mailcertd(args...) })
		return nil, 0
	}
}

// beside runs f while the storm goes on.
func (s *soak) beside(f func()) {
	s.under.Go(f)
}

func within(dice *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(dice.Int64N(int64(most-least)))
}

func one[T any](dice *rand.Rand, of []T) T { return of[dice.IntN(len(of))] }

var troubles = []trouble{
	{"remove a file", 10, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		path := h.setFile(dice)
		return path, os.Remove(path)
	})},
	{"truncate a file", 5, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		return truncate(h.setFile(dice), dice)
	})},
	{"rubbish in a file", 5, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		return overwrite(h.setFile(dice), rubbish(dice))
	})},
	{"modes", 8, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		path := one(dice, []string{h.setFile(dice), h.setFile(dice), h.Path(certs), h.Path(caDir), h.Path(state),
			h.caFile(dice)})
		mode := one(dice, []os.FileMode{0, 0o600, 0o644, 0o666, 0o700, 0o777})
		return fmt.Sprintf("%s %o", path, mode), os.Chmod(path, mode)
	})},
	{"something else in the way", 5, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		path, kind, after := h.setFile(dice), dice.IntN(4), within(dice, time.Second, 10*time.Second)
		if err := os.Remove(path); err != nil {
			return nil, 0
		}
		release := func() {}
		_ = []func() error{
			func() error { return os.Mkdir(path, 0o755) },
			func() error { return os.MkdirAll(filepath.Join(path, "README"), 0o755) },
			func() (err error) { release, err = fifo(path); return err },
			func() error { return os.Symlink("nowhere", path) },
		}[kind]()
		h.s.note("%s:   %s, %d", h.short, path, kind)
		return func() { // mailcertd reports that it does not delete a directory or a FIFO: a person must
			if st, err := os.Lstat(path); err == nil && (st.IsDir() || st.Mode()&os.ModeNamedPipe != 0) {
				_ = os.RemoveAll(path)
			}
			release()
		}, after
	}},
	{"a slow copy", 4, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		path, step := filepath.Join(h.Path(certs), "host.cert"), within(dice, 50*time.Millisecond, 400*time.Millisecond)
		h.s.beside(func() { h.slowly(path, step) })
		return nil, 0
	}},
	{"an editor", 5, "ab", once(func(h *host, dice *rand.Rand) (string, error) { return rewrite(h.setFile(dice)) })},
	{"a stray file", 3, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		path := filepath.Join(h.Path(one(dice, []string{certs, state})),
			one(dice, []string{"README", ".host.cert.swp", "host.cert~", "old"}))
		return path, os.WriteFile(path, []byte(rubbish(dice)), 0o644)
	})},
	{"rm -rf certs", 2, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		return certs, os.RemoveAll(h.Path(certs))
	})},
	{"rm -rf state", 2, "ab", once(func(h *host, dice *rand.Rand) (string, error) {
		return state, os.RemoveAll(h.Path(state))
	})},
	{"remove a file of the CA", 4, "a", once(func(h *host, dice *rand.Rand) (string, error) {
		path := h.caFile(dice)
		return path, os.Remove(path)
	})},
	{"rubbish in a list of revoked certificates", 2, "a", once(func(h *host, dice *rand.Rand) (string, error) {
		return overwrite(filepath.Join(h.Path(caDir), "crl.pem"), rubbish(dice))
	})},
	{"the CA is away", 2, "a", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		here, away := h.Path(caDir), h.Path("/etc/mail/CA.away")
		after := within(dice, time.Second, 6*time.Second)
		if h.served() != nil { // with neither certificate nor state, mailcertd would make a new CA, and rightly
			return nil, 0
		}
		if err := os.Rename(here, away); err != nil {
			h.s.violated("%s: the CA: %v", h.short, err)
		}
		return func() {
			if made, _ := filepath.Glob(here + "/*"); len(made) > 0 {
				h.s.violated("%s: while the CA was away, somebody made %v", h.short, made)
				return
			}
			_ = os.RemoveAll(here)
			if err := os.Rename(away, here); err != nil {
				h.s.violated("%s: the CA: %v", h.short, err)
			}
		}, after
	}},
	{"openssl ca", 4, "a", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		what, n := "-gencrl -out /dev/null", dice.IntN(1_000_000)
		if dice.IntN(2) == 0 {
			what = "-notext -in /run/openssl.csr -out /dev/null"
		}
		h.s.beside(func() {
			out, code := h.Run("sh", "-c", fmt.Sprintf(`cd %s && openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null \
				-subj /CN=c%d.example.test -addext subjectAltName=DNS:c%d.example.test -out /run/openssl.csr 2>/dev/null && openssl ca -batch -config openssl.cnf %s`, caDir, n, n, what))
			h.s.note("%s: openssl ca %s: %d\n%s", h.short, what, code, indent(out))
		})
		return nil, 0
	}},
	{"a full disk", 4, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		after := within(dice, time.Second, 6*time.Second)
		fill := []string{h.Path("/etc/mail/filler"), h.Path("/var/db/filler")}
		if n := dice.IntN(3); n < 2 {
			fill = fill[n : n+1]
		}
		for _, path := range fill {
			h.s.note("%s:   %s: %d octets", h.short, path, filled(path))
		}
		return func() {
			for _, path := range fill {
				_ = os.Remove(path)
			}
		}, after
	}},
	{"a failing disk", 10, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		permille, after := 1+dice.IntN(25), within(dice, 3*time.Second, 12*time.Second)
		if _, _, err := h.d.faults(permille); err != nil {
			h.s.note("%v", err)
		}
		return func() {
			if _, _, err := h.d.faults(0); err != nil && h.s.ok() {
				h.s.violated("%v", err)
			}
		}, after
	}},
	{"ensure", 3, "ab", verb("ensure")},
	{"check", 2, "ab", verb("check")},
	{"status", 2, "ab", verb("status", "--json")},
	{"renew", 5, "ab", verb("renew")},
	{"renew --rekey", 4, "ab", verb("renew", "--rekey", "--now")},
	{"issue", 2, "a", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		name := fmt.Sprintf("other%d.example.test", dice.IntN(1_000_000))
		h.s.beside(func() { h.mailcertd("issue", "--yes", name, "-o", "/run/"+name) })
		return nil, 0
	}},
	{"revoke and renew", 2, "ab", func(h *host, _ *rand.Rand) (func(), time.Duration) {
		h.s.beside(func() {
			if serial := h.onDisk(); serial != "" {
				h.s.a.mailcertd("revoke", serial, "--reason", "superseded")
				h.mailcertd("renew")
			}
		})
		return nil, 0
	}},
	{"ca rollover", 1, "a", func(h *host, _ *rand.Rand) (func(), time.Duration) { return h.rollover() }},
	{"ca rollover --now", 1, "a", func(h *host, _ *rand.Rand) (func(), time.Duration) { return h.rollover("--now") }},
	{"another configuration", 3, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		text := h.yaml + "dh: " + one(dice, []string{"ffdhe2048", "ffdhe3072"}) + "\n"
		if h.short == "a" && dice.IntN(2) == 0 {
			text += "host: {altnames: [mx" + strconv.Itoa(dice.IntN(3)) + ".example.test]}\n"
		}
		h.put(conf, text)
		h.d.signal("HUP")
		return nil, 0
	}},
	{"a wrong configuration", 1, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		before, _ := os.ReadFile(h.Path(conf))
		h.put(conf, "certs: [\n")
		h.d.signal("HUP")
		return func() { h.put(conf, string(before)); h.d.signal("HUP") },
			within(dice, 100*time.Millisecond, 3*time.Second)
	}},
	{"kill -9 mailcertd", 8, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		return h.endDaemon("KILL", within(dice, 0, 3*time.Second))
	}},
	{"service mailcertd restart", 2, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		return h.endDaemon("TERM", 0)
	}},
	{"a stopped process", 2, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		h.d.signal("STOP")
		return func() { h.d.signal("CONT") }, within(dice, time.Second, 5*time.Second)
	}},
	{"service sendmail restart", 4, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		away := within(dice, 0, 2*time.Second)
		h.s.beside(func() { h.restart(away) })
		return nil, 0
	}},
	{"HUP to sendmail", 2, "ab", once(func(h *host, _ *rand.Rand) (string, error) {
		h.mta.Lock()
		defer h.mta.Unlock()
		if pid := h.PID(); pid > 1 {
			h.hups++
			h.Run("kill", "-HUP", strconv.Itoa(pid))
		}
		return "", nil
	})},
	{"an edited sendmail.cf", 2, "ab", once(func(h *host, _ *rand.Rand) (string, error) {
		f, err := os.OpenFile(h.Path("/etc/mail/sendmail.cf"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = f.WriteString("# edited\n")
		return "", err
	})},
	{"no network", 3, "ab", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		dev := strings.TrimSpace(first(h.Run("sh", "-c", "ip -o link | sed -n 's/^[0-9]*: \\(v[^@:]*\\).*/\\1/p'")))
		h.Run("ip", "link", "set", dev, "down")
		return func() { h.Run("ip", "link", "set", dev, "up") }, within(dice, time.Second, 6*time.Second)
	}},
	{"no sshd", 2, "a", func(h *host, dice *rand.Rand) (func(), time.Duration) {
		h.StopSSHD()
		return func() {
			if h.Must(h.s.t, "/usr/sbin/sshd", "-f", "/etc/mail/ssh/sshd_config", "-E", "/var/db/sshd.log"); h.s.ok() {
				bed.Wait(h.s.t, "sshd", func() error { _, err := os.Stat(h.Path("/run/sshd.pid")); return err })
			}
		}, within(dice, time.Second, 6*time.Second)
	}},
}

// rollover starts the next generation, and does on both hosts what the manual says.
func (h *host) rollover(args ...string) (func(), time.Duration) {
	h.s.rolled = true
	h.s.beside(func() {
		h.mailcertd(append([]string{"ca", "rollover"}, args...)...)
		h.s.b.mailcertd("renew")
		h.mailcertd("renew")
	})
	return nil, 0
}

// signal sends a signal to a process, whose pid is in this machine's numbers.
func signal(pid int, name string) {
	no := map[string]syscall.Signal{"USR1": syscall.SIGUSR1, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL,
		"TERM": syscall.SIGTERM, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	_ = syscall.Kill(pid, no[name])
}

func (d *daemon) signal(name string) {
	if d.proc != nil {
		signal(d.proc.pid, name)
		if name == "CONT" {
			signal(d.proc.nsenter, name)
		}
	}
}

// endDaemon ends the daemon; the returned function starts it again. It does nothing to a daemon whose memory is
// compared over the whole run.
func (h *host) endDaemon(name string, after time.Duration) (func(), time.Duration) {
	if h.steady && h.s.quarter() > 0 {
		return nil, 0
	}
	p := h.d.proc
	h.d.ends(p)
	h.d.signal(name)
	h.d.signal("CONT")
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		h.s.violated("%s: the daemon does not end within 10 s of SIG%s", h.short, name)
	}
	h.d.proc = nil
	return func() {
		if h.d.proc == nil && h.s.ok() {
			h.d.start()
		}
	}, after
}

// pending is a trouble that has not ended.
type pending struct {
	at   time.Time
	name string
	undo func()
}
