// Package bed runs real sendmails: as root, each in its own namespaces with FreeBSD's paths and port 25; as another
// user, on a high port.
package bed

import (
	"cmp"
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

// Patience limits every wait. It is long, because several hosts run at a time and the machine may be busy.
const Patience = time.Minute

// Sendmail is the path that FreeBSD's rc.conf has for sendmail.
const Sendmail = "/usr/sbin/sendmail"

// Host is one mail host: network, mount, PID and UTS namespaces, with its own /etc/mail, /var, /run and /dev/log.
type Host struct {
	Name, IP string
	dir      string
	holder   *exec.Cmd
	init     string // pid of the namespaces' first process, in this machine's numbers
	log      *Output
}

// Need skips the test, with the reason, unless it runs as root (where root is true) and all programs are installed.
// Where no test may be skipped (MAILCERTD_NOSKIP) it fails the test instead.
func Need(t testing.TB, root bool, programs ...string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("MAILCERTD_NOSKIP") != "" {
		skip = t.Fatalf
	}
	if root && os.Geteuid() != 0 {
		skip("needs root, to make namespaces")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			skip("needs %s: %v", p, err)
		}
	}
}

// NewHost makes a host that exists as long as the test. The changes to its sendmail.cf are those of CF. No sendmail
// runs yet.
func NewHost(t testing.TB, name, ip string, changes ...string) *Host {
	t.Helper()
	return newHost(t, name, ip, func(string) {}, changes)
}

// NewSmallHost is NewHost with two small disks of that size, one for /etc/mail and one for /var/db. size is as for
// mount -o size=.
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

// NewDiskHost is NewHost with /var/db on a disk, also where the tests keep their files in memory.
func NewDiskHost(t testing.TB, name, ip string) *Host {
	t.Helper()
	disk, err := os.MkdirTemp(cmp.Or(os.Getenv("MAILCERTD_DISK"), "/var/tmp"), "mailcertd-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	return newHost(t, name, ip, func(dir string) {
		d := filepath.Join(dir, "var/db")
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(disk, d, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(d, syscall.MNT_DETACH) })
	}, nil)
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
	h.Must(t, "/usr/libexec/sendmail/makemap", "-e", "hash", "/etc/mail/mailertable") // makemap reads the empty stdin
	h.Must(t, "/usr/libexec/sendmail/makemap", "-e", "hash", "/etc/mail/access")
	h.Must(t, Sendmail, "-bi")
	t.Cleanup(func() { h.Stop() })
	return h
}

// tempDir makes a directory with a short path that sendmail's children, which are not root, can enter.
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
	put("loadavg", "0.00 0.00 0.00 1/100 100\n") // on a busy machine sendmail would queue and refuse mail
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

// extend returns this machine's file of accounts, with those lines added whose name it lacks. sendmail and sshd may be
// unpacked without the accounts that their packages make.
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

// Names are the hosts that every Host knows by /etc/hosts, by address.
var Names = map[string]string{"10.99.0.1": "mail-a.example.test", "10.99.0.2": "mail-b.example.test"}

const setup = `set -e
d=$1; hostname "$2"
files='hosts resolv.conf passwd group nsswitch.conf services'
mkdir -p $d/etc # what /etc lacks, on a new machine
[ -d /etc/mail ] || mkdir $d/etc/mail
for f in $files; do [ -e /etc/$f ] || : > $d/etc/$f; done
[ -z "$(ls $d/etc)" ] || mount -t overlay overlay -o lowerdir=$d/etc:/etc /etc
mount --bind $d/etc-mail /etc/mail
for f in $files; do mount --bind $d/$f /etc/$f; done
mount --bind $d/run /run
mount --rbind $d/var /var
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

// Path returns where this machine has a path of the host, which must be below /etc/mail, /var or /run.
func (h *Host) Path(p string) string {
	p = strings.Replace(p, "/var/run/", "/run/", 1)
	if rest, ok := strings.CutPrefix(p, "/etc/mail"); ok {
		return filepath.Join(h.dir, "etc-mail", rest)
	}
	return filepath.Join(h.dir, p)
}

// Command prepares a command that runs on the host.
func (h *Host) Command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", h.init, "-m", "-u", "-n", "-p", "--"}, args...)...)
}

// Run runs a command on the host, and returns its output and its exit status.
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

// Must is Run for a command whose failure fails the test.
func (h *Host) Must(t testing.TB, args ...string) string {
	t.Helper()
	out, code := h.Run(args...)
	if code != 0 {
		t.Fatalf("%s: %s: status %d\n%s", h.Name, strings.Join(args, " "), code, out)
	}
	return out
}

// Wait calls ok again and again until it returns nil, and fails the test after Patience. An ok that runs programs takes
// time on the processor from what it waits for, so the pause after it is twice as long as it took.
func Wait(t testing.TB, what string, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(Patience); time.Now().Before(end); {
		asked := time.Now()
		if err = ok(); err == nil {
			return
		}
		time.Sleep(min(max(10*time.Millisecond, 2*time.Since(asked)), time.Second/2))
	}
	t.Fatalf("waited %s for %s: %v", Patience, what, err)
}

// EnsureServes runs `ensure` until sendmail serves the certificate on the disk. ensure itself waits only a moment after
// its HUP, and on a busy machine sendmail takes longer.
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

// Start starts sendmail as rc.d does, or with args, and waits until it listens.
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

// PID is the process number in the pid file, as the host sees it; 0 where there is none.
func (h *Host) PID() int {
	b, _ := os.ReadFile(h.Path("/run/sendmail.pid"))
	line, _, _ := strings.Cut(string(b), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

// Alive reports whether the host has a process with that pid.
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

// Offers reports whether the EHLO reply offers STARTTLS.
func (h *Host) Offers(t testing.TB) bool {
	t.Helper()
	out := h.Must(t, "bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/25; read -t 5 l <&3; printf "EHLO probe.example.test\r\n" >&3
while read -t 5 l <&3; do echo "$l"; case $l in "250 "*) break;; esac; done; printf "QUIT\r\n" >&3; cat <&3 >/dev/null`)
	return strings.Contains(out, "STARTTLS")
}

// Serial is the serial number that a client sees at addr, "" where it gets no certificate.
func (h *Host) Serial(addr string) string {
	out, _ := h.Run("bash", "-c", "echo QUIT | timeout 10 openssl s_client -starttls smtp -connect "+addr+
		" -name probe.example.test 2>/dev/null | openssl x509 -noout -serial 2>/dev/null")
	return strings.TrimPrefix(strings.TrimSpace(out), "serial=")
}

// OnDisk is the serial number in host.cert, "" where there is no certificate.
func (h *Host) OnDisk(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("openssl", "x509", "-noout", "-serial", "-in",
		h.Path("/etc/mail/certs/host.cert")).Output()
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "serial=")
}

// Connect connects the networks of two hosts.
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
