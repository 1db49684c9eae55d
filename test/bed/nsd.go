package bed

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// NSD is a name server, NLnet Labs' nsd, on port 53 of its own address. It uses nothing of this machine's
// configuration and writes only below its own directory.
type NSD struct {
	dir     string
	command func(args ...string) *exec.Cmd
	cmd     *exec.Cmd
	said    *Output
}

// NSDZone is a zone of an NSD: Lines go into its section zone, and Text is its zone file. Without Text the server has
// the zone when it has got it from the server that a line request-xfr names, and answers SERVFAIL until then.
type NSDZone struct {
	Name  string
	Lines []string
	Text  string
}

// NewNSD starts a name server that runs as long as the test. command prepares a program that runs where the server is
// to run, such as Host.Command.
func NewNSD(t testing.TB, command func(args ...string) *exec.Cmd, addr string, zones ...NSDZone) *NSD {
	t.Helper()
	Need(t, true, "nsd", "nsd-control")
	n := &NSD{dir: tempDir(t), command: command, said: &Output{}}
	var conf strings.Builder
	conf.WriteString("server:\n ip-address: " + addr + "\n server-count: 1\n username: \"\"\n chroot: \"\"\n" +
		" zonesdir: \"" + n.dir + "\"\n database: \"\"\n pidfile: \"" + n.dir + "/pid\"\n" +
		" xfrdfile: \"" + n.dir + "/xfrd.state\"\n xfrdir: \"" + n.dir + "\"\n" +
		" zonelistfile: \"" + n.dir + "/zone.list\"\n verbosity: 1\n" +
		"remote-control:\n control-enable: yes\n control-interface: \"" + n.dir + "/control\"\n")
	for _, z := range zones {
		file := strings.Trim(z.Name, ".") + ".zone"
		conf.WriteString("zone:\n name: \"" + z.Name + "\"\n zonefile: \"" + file + "\"\n")
		for _, line := range z.Lines {
			conf.WriteString(" " + line + "\n")
		}
		if z.Text != "" {
			n.put(t, file, z.Text)
		}
	}
	n.put(t, "nsd.conf", conf.String())
	n.cmd = command("nsd", "-d", "-c", filepath.Join(n.dir, "nsd.conf"))
	n.cmd.Stdout, n.cmd.Stderr = n.said, n.said
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Stop()
		if t.Failed() {
			t.Logf("nsd at %s:\n%s", addr, n.said)
		}
	})
	Wait(t, "nsd", func() error {
		if out, err := n.control("status"); err != nil {
			return errors.New(out + n.said.String())
		}
		return nil
	})
	return n
}

func (n *NSD) put(t testing.TB, name, text string) {
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Stop stops the server and waits until it has ended.
func (n *NSD) Stop() {
	stopServer(n.cmd, n.control)
	n.cmd = nil
}

// Follow makes the server get a zone again from its primary server.
func (n *NSD) Follow(t testing.TB, zone string) {
	t.Helper()
	if out, err := n.control("transfer", zone); err != nil {
		t.Fatalf("nsd-control transfer %s: %v\n%s", zone, err, out)
	}
}

func (n *NSD) control(args ...string) (string, error) {
	out, err := n.command(append([]string{"nsd-control", "-c", filepath.Join(n.dir, "nsd.conf")},
		args...)...).CombinedOutput()
	return string(out), err
}
