// Package bed runs real sendmails: as root each in namespaces of its own with
// FreeBSD's paths and port 25, else unprivileged on a high port.
package bed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait. Several hosts are at work at a time, and the machine may have other things to do.
const Patience = time.Minute

// Sendmail is the program as FreeBSD's rc.conf names it.
const Sendmail = "/usr/sbin/sendmail"

// Host is one machine: network, mount, PID and UTS namespaces, and its own
// /etc/mail, /var, /run and /dev/log.
type Host struct {
	Name, IP string
	dir      string
	holder   *exec.Cmd
	init     string // the pid of its first process, as seen from here
	log      *syslog
}

// Need skips the test by name, with the reason, unless everything is there.
// Where nothing may be skipped it fails instead.
func Need(t testing.TB, root bool, programs ...string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("MAILCERTD_NOSKIP") != "" {
		skip = t.Fatalf
	}
	if root && os.Geteuid() != 0 {
		skip("needs root: namespaces of its own")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			skip("needs %s: %v", p, err)
		}
	}
}

// NewHost makes a machine that lives as long as the test. Its sendmail.cf has
// the changes that CF describes. No sendmail runs yet.
func NewHost(t testing.TB, name, ip string, changes ...string) *Host {
	t.Helper()
	return newHost(t, name, ip, func(string) {}, changes)
}

// NewSmallHost is NewHost with a small disk for /etc/mail and another one for /var/db, of that size (mount -o size=).
func NewSmallHost(t testing.TB, name, ip, size string, changes ...string) *Host {
	t.Helper()
	return newHost(t, name, ip, func(dir string) {
		for _, d := range []string{"etc-mail", "var/db"} {
			d = filepath.Join(dir, d)
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mount("tmpfs", d, "tmpfs", 0, "mode=755,size="+size); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(d, syscall.MNT_DETACH) })
		}
	}, changes)
}

func newHost(t testing.TB, name, ip string, disks func(dir string), changes []string) *Host {
	t.Helper()
	Need(t, true, "unshare", "nsenter", "ip", "m4", Sendmail)
	if _, err := os.Stat(cfDir); err != nil {
		Need(t, true, "sendmail-cf (Debian's package with "+cfDir+")")
	}
	h := &Host{Name: name, IP: ip, dir: tempDir(t)}
	cf, err := CF(name, changes...)
	if err != nil {
		t.Fatal(err)
	}
	disks(h.dir)
	h.files(t, cf)
	h.log = listen(t, filepath.Join(h.dir, "log.sock"))
	h.start(t)
	h.Must(t, "ip", "link", "set", "lo", "up")
	h.Must(t, "/usr/libexec/sendmail/makemap", "-e", "hash", "/etc/mail/mailertable") // stdin is empty
	h.Must(t, "/usr/libexec/sendmail/makemap", "-e", "hash", "/etc/mail/access")
	h.Must(t, Sendmail, "-bi")
	t.Cleanup(func() { h.Stop() })
	return h
}

// tempDir is short and open: sendmail's children must reach it.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "bed")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (h *Host) files(t testing.TB, cf string) {
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"etc-mail", "run", "var/spool/mqueue", "var/spool/clientmqueue", "var/mail", "var/db",
		"var/tmp", "olddev"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Symlink("/run", filepath.Join(h.dir, "var/run"))
	_ = os.Chmod(filepath.Join(h.dir, "var/spool/mqueue"), 0o700)
	_ = os.Chmod(filepath.Join(h.dir, "var/mail"), 0o3777|os.ModeSticky|os.ModeSetgid)
	put("var/spool/sendmail.st", "")
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for ip, name := range Names {
		hosts.WriteString(ip + " " + name + "\n")
	}
	put("hosts", hosts.String()+h.IP+" "+h.Name+"\n")
	put("resolv.conf", "")
	put("loadavg", "0.00 0.00 0.00 1/100 100\n") // sendmail queues and refuses mail on a busy machine
	put("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
	put("services", "smtp 25/tcp\nimap2 143/tcp\nsmtps 465/tcp\nsubmission 587/tcp\n")
	put("passwd", extend("/etc/passwd",
		"smmta:x:2003:2003::/nonexistent:/bin/sh", "smmsp:x:2004:2004::/nonexistent:/bin/sh",
		"sshd:x:2005:65534::/run/sshd:/bin/sh",
		"alice:x:2001:2001:Alice:/nonexistent:/bin/sh",
		Account+":x:2002:2002:requests:/var/db/"+Account+"-home:/bin/sh"))
	put("group", extend("/etc/group", "smmta:x:2003:", "smmsp:x:2004:"))
	put("etc-mail/service.switch", "hosts files\naliases files\n")
	put("etc-mail/local-host-names", h.Name+"\n")
	put("etc-mail/aliases", "postmaster: root\n")
	put("etc-mail/relay-domains", "10.99\n")
	put("etc-mail/trusted-users", "")
	put("etc-mail/access", "")
	var table strings.Builder
	for _, name := range Names {
		if name != h.Name {
			table.WriteString(name + "\tesmtp:[" + name + "]\n")
		}
	}
	put("etc-mail/mailertable", table.String())
	put("etc-mail/helpfile", "")
	put("etc-mail/sendmail.cf", cf)
}

// extend is this machine's file of accounts with these in it, where it has none of that name. Sendmail and sshd may
// be unpacked alone, without the accounts that their packages make.
func extend(path string, lines ...string) string {
	data, _ := os.ReadFile(path)
	text := string(data)
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		if !strings.Contains("\n"+text, "\n"+name+":") {
			text += line + "\n"
		}
	}
	return text
}

// Names are the hosts that know each other.
var Names = map[string]string{"10.99.0.1": "mail-a.example.test", "10.99.0.2": "mail-b.example.test"}

const setup = `set -e
d=$1; hostname "$2"
[ -d /etc/mail ] && [ -e /etc/services ] || { # a new machine lacks them
	mkdir -p $d/etc/mail; : > $d/etc/services; mount -t overlay overlay -o lowerdir=$d/etc:/etc /etc; }
mount --bind $d/etc-mail /etc/mail
for f in hosts resolv.conf passwd group nsswitch.conf services; do mount --bind $d/$f /etc/$f; done
mount --bind $d/run /run
mount --bind $d/var /var
mount --bind /dev $d/olddev; mount -t tmpfs -o mode=755 tmpfs /dev
for n in null zero random urandom tty; do : > /dev/$n; mount --bind $d/olddev/$n /dev/$n; done
: > /dev/log; mount --bind $d/log.sock /dev/log
mount -t proc proc /proc
mount --bind $d/loadavg /proc/loadavg
: > $d/ready
sleep 86400; :`

func (h *Host) start(t testing.TB) {
	out, err := os.Create(filepath.Join(h.dir, "holder.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	h.holder = exec.Command("unshare", "-m", "-u", "-n", "-p", "--fork", "--kill-child", "--propagation", "private",
		"bash", "-c", setup, "_", h.dir, h.Name)
	h.holder.Stdout, h.holder.Stderr = out, out
	h.holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := h.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-h.holder.Process.Pid, syscall.SIGKILL)
		_ = h.holder.Wait()
	})
	Wait(t, "the namespaces", func() error {
		if _, err := os.Stat(filepath.Join(h.dir, "ready")); err != nil {
			said, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	})
	pid := strconv.Itoa(h.holder.Process.Pid)
	b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if h.init = strings.TrimSpace(string(b)); err != nil || h.init == "" {
		t.Fatalf("the first process of the namespaces: %v", err)
	}
}

// Path is where a path of the host lies on this machine: below /etc/mail, /var
// or /run.
func (h *Host) Path(p string) string {
	p = strings.Replace(p, "/var/run/", "/run/", 1)
	if rest, ok := strings.CutPrefix(p, "/etc/mail"); ok {
		return filepath.Join(h.dir, "etc-mail", rest)
	}
	return filepath.Join(h.dir, p)
}

// Command prepares a command on the host.
func (h *Host) Command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", h.init, "-m", "-u", "-n", "-p", "--"}, args...)...)
}

// Run runs a command on the host; code is its exit status.
func (h *Host) Run(args ...string) (out string, code int) {
	b, err := h.Command(args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(b), exit.ExitCode()
	case err != nil:
		return err.Error(), -1
	}
	return string(b), 0
}

// Must is Run for commands that succeed.
func (h *Host) Must(t testing.TB, args ...string) string {
	t.Helper()
	out, code := h.Run(args...)
	if code != 0 {
		t.Fatalf("%s: %s: status %d\n%s", h.Name, strings.Join(args, " "), code, out)
	}
	return out
}

// Wait asks again and again until ok gives nil, or fails the test.
func Wait(t testing.TB, what string, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("waited %s for %s: %v", Patience, what, err)
}

// EnsureServes runs `ensure` until sendmail serves what is on the disk: ensure itself waits only a moment for a
// sendmail that was told, and on a busy machine that takes longer.
func (h *Host) EnsureServes(t testing.TB, mailcertd ...string) {
	t.Helper()
	Wait(t, "sendmail to serve the certificate on disk", func() error {
		out, code := h.Run(append(mailcertd, "ensure")...)
		disk := h.OnDisk(t)
		if served := h.Serial("127.0.0.1:25"); code != 0 || served != disk {
			return fmt.Errorf("ensure: status %d, on disk %q, served %q\n%s", code, disk, served, out)
		}
		return nil
	})
}

// Start starts sendmail as rc.d does and waits until it listens.
func (h *Host) Start(t testing.TB, args ...string) {
	t.Helper()
	if len(args) == 0 {
		args = []string{Sendmail, "-L", "sm-mta", "-bd", "-q30m"}
	}
	h.Must(t, args...)
	Wait(t, "sendmail to listen", func() error { return h.listening("127.0.0.1:25") })
}

func (h *Host) listening(addr string) error {
	host, port, _ := net.SplitHostPort(addr)
	if out, code := h.Run("bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port+
		" && read -t 5 l <&3 && printf 'QUIT\r\n' >&3 && cat <&3"); code != 0 {
		return errors.New(strings.TrimSpace(out))
	}
	return nil
}

// PID is what the pid file says, in the numbers of the host; 0 for nothing.
func (h *Host) PID() int {
	b, _ := os.ReadFile(h.Path("/run/sendmail.pid"))
	line, _, _ := strings.Cut(string(b), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

// Alive says that the host has a process with that pid.
func (h *Host) Alive(pid int) bool {
	_, code := h.Run("kill", "-0", strconv.Itoa(pid))
	return code == 0
}

// Stop ends sendmail and waits until it is gone.
func (h *Host) Stop() {
	if pid := h.PID(); pid > 1 {
		h.Run("kill", strconv.Itoa(pid))
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			if h.listening("127.0.0.1:25") != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// Offers says whether STARTTLS stands in the EHLO reply.
func (h *Host) Offers(t testing.TB) bool {
	t.Helper()
	out := h.Must(t, "bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/25; read -t 5 l <&3; printf "EHLO probe.example.test\r\n" >&3
while read -t 5 l <&3; do echo "$l"; case $l in "250 "*) break;; esac; done; printf "QUIT\r\n" >&3; cat <&3 >/dev/null`)
	return strings.Contains(out, "STARTTLS")
}

// Serial is the serial number that a client sees at addr, "" when it sees none.
func (h *Host) Serial(addr string) string {
	out, _ := h.Run("bash", "-c", "echo QUIT | timeout 10 openssl s_client -starttls smtp -connect "+addr+
		" -name probe.example.test 2>/dev/null | openssl x509 -noout -serial 2>/dev/null")
	return strings.TrimPrefix(strings.TrimSpace(out), "serial=")
}

// OnDisk is the serial number in host.cert, "" when there is none.
func (h *Host) OnDisk(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("openssl", "x509", "-noout", "-serial", "-in",
		h.Path("/etc/mail/certs/host.cert")).Output()
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "serial=")
}

// Connect lays a cable between two hosts.
func Connect(t testing.TB, a, b *Host) {
	t.Helper()
	veth := fmt.Sprintf("v%d", os.Getpid()%100000)
	if out, err := exec.Command("ip", "link", "add", veth+"a", "netns", a.init, "type", "veth", "peer", "name",
		veth+"b", "netns", b.init).CombinedOutput(); err != nil {
		t.Fatalf("ip link: %v: %s", err, out)
	}
	for h, dev := range map[*Host]string{a: veth + "a", b: veth + "b"} {
		h.Must(t, "ip", "addr", "add", h.IP+"/24", "dev", dev)
		h.Must(t, "ip", "link", "set", dev, "up")
	}
}
