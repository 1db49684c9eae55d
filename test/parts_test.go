package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// otherMailServer prepares a machine whose owner runs another mail server: sendmail's files are hidden, apt-get
// believes that the other server is installed, and its program has the name sendmail.
const otherMailServer = `set -e
hostname mail.example.test # sendmail waits a minute on a host without a domain
awk -v RS= -v ORS='\n\n' '!/^Package: sendmail-bin\n/' /var/lib/dpkg/status >"$1/status"
cat >>"$1/status" <<END
Package: theirs
Status: install ok installed
Priority: optional
Section: mail
Maintainer: nobody <nobody@example.test>
Architecture: all
Version: 1
Provides: mail-transport-agent
Conflicts: mail-transport-agent
Description: another mail server

END
mount --bind "$1/status" /var/lib/dpkg/status
if [ "$(awk '$2 == "/usr" {t = $3} END {print t}' /proc/self/mounts)" = overlay ]; then umount -R -l /usr; fi
mkdir -p "$1/usr/libexec"
mknod "$1/usr/libexec/sendmail" c 0 0 # an overlay reads this as a deleted file
mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr
cd "$1"
sh scripts/parts.sh -only sendmail sh -c '
	echo "version $(/usr/sbin/sendmail -d0.1 -bt -C /dev/null </dev/null | head -n 1)"
	echo "program $(readlink -f /usr/sbin/sendmail)"
	find / -xdev -perm /6000 -path "*/.parts/*" | sed "s/^/setuid /"' 2>&1
[ ! -e /usr/libexec/sendmail ] && echo "theirs as before"
sha256sum "$1/status" /var/lib/dpkg/status | cut -c1-64 | uniq | wc -l | sed 's/^/states /'
`

// The programs that the tests need are unpacked from the distribution's packages into a folder of the project. They
// must not change what is installed on the machine, above all not another mail server.
func TestParts(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "unshare", "apt-get", "dpkg-deb", "awk")
	dir := t.TempDir()
	script, err := os.ReadFile("../scripts/parts.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scripts/parts.sh"), script, 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command("unshare", "-m", "-u", "--propagation", "private", "sh", "-c", otherMailServer, "_",
		dir).CombinedOutput()
	out := string(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"unpacking into .parts", "version Version 8.",
		"program /usr/libexec/sendmail/sendmail", "theirs as before", "states 1"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(out, "setuid ") {
		t.Error("a file in .parts has a set-user-ID or set-group-ID bit")
	}
	if after, err := os.ReadFile("/var/lib/dpkg/status"); err != nil || string(after) != string(before) {
		t.Errorf("the machine's packages are others now (%v)", err)
	}
	if t.Failed() {
		t.Log(out)
	}
}
