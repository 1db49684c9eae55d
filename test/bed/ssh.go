package bed

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Account is the unprivileged user that members log in as.
const Account = "mailcertd"

// accountID is its uid and gid.
const accountID = 2002

const sshdConfig = `ListenAddress 0.0.0.0
HostKey /etc/mail/ssh/host_key
AuthorizedKeysFile /etc/mail/ssh/authorized_keys
PidFile /run/sshd.pid
Subsystem sftp internal-sftp
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 200
`

// SSHD starts the real sshd on the host and returns its line for known_hosts.
func (h *Host) SSHD(t testing.TB) string {
	t.Helper()
	Need(t, true, "/usr/sbin/sshd", "ssh", "ssh-keygen")
	for _, d := range []string{"/etc/mail/ssh", "/run/sshd", "/var/db/" + Account + "-home"} {
		if err := os.MkdirAll(h.Path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(h.Path("/var/db/"+Account+"-home"), accountID, accountID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.Path("/etc/mail/ssh/host_key")); err != nil {
		h.Must(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/mail/ssh/host_key")
	}
	if err := os.WriteFile(h.Path("/etc/mail/ssh/sshd_config"), []byte(sshdConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Must(t, "/usr/sbin/sshd", "-f", "/etc/mail/ssh/sshd_config", "-E", "/var/db/sshd.log")
	Wait(t, "sshd to listen", func() error { return h.port("127.0.0.1", "22") })
	t.Cleanup(h.StopSSHD)
	key, err := os.ReadFile(h.Path("/etc/mail/ssh/host_key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	return h.IP + " " + string(key)
}

func (h *Host) port(host, port string) error {
	_, err := h.Command("bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port).CombinedOutput()
	return err
}

// StopSSHD ends sshd, and leaves sessions alone.
func (h *Host) StopSSHD() {
	b, _ := os.ReadFile(h.Path("/run/sshd.pid"))
	if pid := strings.TrimSpace(string(b)); pid != "" {
		h.Run("kill", pid)
		for range 500 {
			if h.port("127.0.0.1", "22") != nil {
				break
			}
		}
	}
}

// SSHKey makes a key to log in with and returns the path of its public half.
func (h *Host) SSHKey(t testing.TB, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.Path(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	h.Must(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
	b, err := os.ReadFile(h.Path(path + ".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// AsAccount returns the command line that runs a command on the host as that user.
func (h *Host) AsAccount(args ...string) []string {
	id := strconv.Itoa(accountID)
	return append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--"}, args...)
}

// Daemon starts mailcertd on the host and stops it at the end of the test. log returns what it has written to standard
// error so far.
func (h *Host) Daemon(t testing.TB, args ...string) (log func() string) {
	t.Helper()
	out := &Output{}
	cmd := h.Command(args...)
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return out.String
}
