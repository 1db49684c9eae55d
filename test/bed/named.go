package bed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Named is a name server, BIND's named, on port 53 of its own addresses. It uses nothing of this machine's
// configuration and writes only below its own directory.
type Named struct {
	dir     string
	addr    string // the first of its addresses
	command func(args ...string) *exec.Cmd
	cmd     *exec.Cmd
	said    *Output
}

// NamedZone is a zone of a name server: Statements go into its zone block, and Text is its zone file, "" for none.
type NamedZone struct{ Name, Statements, Text string }

// NewNamed starts a name server that runs as long as the test. command prepares a program that runs where the server is
// to run, such as Host.Command. options go into named.conf's options block, and more goes beside that block, such as
// keys.
func NewNamed(t testing.TB, command func(args ...string) *exec.Cmd, addrs []string, options, more string,
	zones ...NamedZone) *Named {
	t.Helper()
	Need(t, true, "named", "rndc", "tsig-keygen")
	n := &Named{dir: tempDir(t), addr: addrs[0], command: command}
	var conf strings.Builder
	if !strings.Contains(options, "dnssec-validation") {
		options = "dnssec-validation no; " + options
	}
	v4, v6 := "", ""
	for _, a := range addrs {
		if strings.Contains(a, ":") {
			v6 += a + "; "
		} else {
			v4 += a + "; "
		}
	}
	if v6 == "" {
		v6 = "none; "
	}
	conf.WriteString(`options { directory "` + n.dir + `"; pid-file "named.pid"; session-keyfile "session.key"; ` +
		`managed-keys-directory "` + n.dir + `"; dump-file "dump"; statistics-file "stats"; lock-file none; ` +
		`listen-on { ` + v4 + `}; listen-on-v6 { ` + v6 + `}; query-source address ` + n.addr + `; ` +
		`transfer-source ` + n.addr + `; notify-source ` + n.addr + `; minimal-responses no; empty-zones-enable no; ` +
		options + "\n};\n")
	control := TSIGKey(t, "control")
	n.put(t, "control.key", control)
	conf.WriteString(control + "controls { inet " + n.addr + " port 953 allow { any; } keys { control; }; };\n" +
		more + "\n")
	for _, z := range zones {
		file := strings.Trim(z.Name, ".") + ".zone"
		conf.WriteString(`zone "` + z.Name + `" { ` + z.Statements)
		if z.Text != "" {
			n.put(t, file, z.Text)
		}
		if !strings.Contains(z.Statements, "static-stub") {
			conf.WriteString(` file "` + file + `";`)
		}
		conf.WriteString(" };\n")
	}
	n.put(t, "named.conf", conf.String())
	t.Cleanup(func() {
		n.Stop()
		if t.Failed() {
			_, log, _ := strings.Cut(n.Log(), " loading configuration ")
			t.Logf("named at %s:\n%s", n.addr, log)
		}
	})
	n.Start(t)
	return n
}

// TSIGKey makes a new key in the form that tsig-keygen writes.
func TSIGKey(t testing.TB, name string) string {
	t.Helper()
	Need(t, false, "tsig-keygen")
	out, err := exec.Command("tsig-keygen", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (n *Named) put(t testing.TB, name, text string) {
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Start starts the server and waits until it answers.
func (n *Named) Start(t testing.TB) {
	t.Helper()
	n.said = &Output{}
	n.cmd = n.command("named", "-g", "-n", "1", "-c", filepath.Join(n.dir, "named.conf"))
	n.cmd.Stdout, n.cmd.Stderr = n.said, n.said
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	Wait(t, "named", func() error {
		if strings.Contains(n.Log(), " running\n") {
			return nil
		}
		return errors.New(n.Log())
	})
}

// Stop stops the server and waits until it has ended.
func (n *Named) Stop() {
	stopServer(n.cmd, n.control)
	n.cmd = nil
}

// stopServer stops a name server with its control program, and waits until it has ended. cmd may be nil.
func stopServer(cmd *exec.Cmd, control func(args ...string) (string, error)) {
	if cmd == nil {
		return
	}
	if _, err := control("stop"); err != nil { // on a Host a signal would reach nsenter(1) only
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
}

// TrustAnchor is the statement of named.conf by which a resolver trusts the key of a zone that this server signs. It
// waits until there is a key.
func (n *Named) TrustAnchor(t testing.TB, zone string) string {
	t.Helper()
	words := strings.Fields(n.DNSKEY(t, zone))
	return fmt.Sprintf("trust-anchors { %s. static-key 257 3 %s \"%s\"; };\n", zone, words[6],
		strings.Join(words[7:], ""))
}

// DNSKEY is the DNSKEY record of the key that signs the keys of a zone, as a zone file has it. It waits until there is
// one.
func (n *Named) DNSKEY(t testing.TB, zone string) (record string) {
	t.Helper()
	Wait(t, "the key of "+zone, func() error {
		files, _ := filepath.Glob(filepath.Join(n.dir, "K"+zone+".+*.key"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(data)) {
				if words := strings.Fields(line); len(words) > 7 && words[3] == "DNSKEY" && words[4] == "257" {
					record = line
					return nil
				}
			}
		}
		return fmt.Errorf("%d key files: %v", len(files), files)
	})
	return record
}

// Path is where the server keeps a file.
func (n *Named) Path(name string) string { return filepath.Join(n.dir, name) }

// Reload writes the text of a zone and makes the server read it.
func (n *Named) Reload(t testing.TB, z NamedZone) {
	t.Helper()
	n.put(t, strings.Trim(z.Name, ".")+".zone", z.Text)
	n.Control(t, "reload", z.Name)
}

// Control runs a command of rndc(8).
func (n *Named) Control(t testing.TB, args ...string) string {
	t.Helper()
	out, err := n.control(args...)
	if err != nil {
		t.Fatalf("rndc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// RNDC is the command line of rndc(8) for this server, without the command.
func (n *Named) RNDC() []string {
	return []string{"rndc", "-s", n.addr, "-p", "953", "-k", filepath.Join(n.dir, "control.key")}
}

func (n *Named) control(args ...string) (string, error) {
	out, err := n.command(append(n.RNDC(), args...)...).CombinedOutput()
	return string(out), err
}

// Log is the server's output since its start.
func (n *Named) Log() string { return n.said.String() }
