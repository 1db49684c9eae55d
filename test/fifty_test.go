package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mailcertd/test/bed"
)

// Fifty members renew at the same time over ssh. Each must get its certificate, if need be after asking again. No
// serial may be used twice, and openssl must be able to use the database.
func TestFiftyMembers(t *testing.T) {
	t.Parallel()
	const members = 50
	a, b := bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), bed.NewHost(t, memberName, "10.99.0.2")
	bed.Connect(t, a, b)
	m := bed.Binary(t, "")
	write(t, a.Path("/etc/mail/mailcertd.yaml"), "log: {level: info, target: stderr}\n", 0o644)
	a.Must(t, m, memberConf, "ensure")
	known := a.SSHD(t)
	var lines strings.Builder
	name := func(i int) string { return fmt.Sprintf("host-%02d.example.test", i) }
	root := func(i int) string { return fmt.Sprintf("/var/db/m%02d", i) }
	for i := range members {
		dir := root(i) + "/etc/mail/ssh"
		pub := b.SSHKey(t, dir+"/id")
		write(t, b.Path(dir+"/known_hosts"), known, 0o644)
		write(t, b.Path(root(i)+"/usr/local/etc/mailcertd.yaml"),
			"host: {name: "+name(i)+"}\nkey: {type: ecdsa-p256}\n"+memberYAML, 0o644)
		write(t, a.Path("/etc/mail/key.pub"), pub+"\n", 0o644)
		out := a.Must(t, m, memberConf, "ca", "enrol", name(i), "--from", "10.99.0.2", "--key", "/etc/mail/key.pub")
		fmt.Fprintln(&lines, regexp.MustCompile(`(?m)^restrict,.*$`).FindString(out))
		b.Run(m, "--root", root(i), "ensure") // makes an interim certificate, because the CA host has not answered yet
	}
	write(t, a.Path("/etc/mail/ssh/authorized_keys"), lines.String(), 0o644)
	log := a.Daemon(t, m, memberConf, "run")
	var all sync.WaitGroup
	var mu sync.Mutex
	retries := 0
	for i := range members {
		all.Go(func() {
			for try := 0; ; try++ {
				out, code := b.Run(m, "--root", root(i), "renew")
				if code == 0 {
					return
				}
				mu.Lock()
				retries++
				mu.Unlock()
				if try == 5 {
					t.Errorf("%s: %d\n%s", name(i), code, out)
					return
				}
			}
		})
	}
	all.Wait()
	seen := map[string]int{}
	for i := range members {
		serial := serialOf(b.Path(root(i)))
		if other, twice := seen[serial]; twice || serial == "" {
			t.Errorf("serial %q of %s is that of %s too", serial, name(i), name(other))
		}
		seen[serial] = i
		if out, code := b.Run("openssl", "verify", "-CAfile", root(i)+"/etc/mail/certs/cacert.pem", "-verify_hostname",
			name(i), root(i)+"/etc/mail/certs/host.cert"); code != 0 {
			t.Errorf("%s: %s", name(i), out)
		}
	}
	index, err := os.ReadFile(a.Path("/etc/mail/CA/index.txt"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for row := range strings.SplitSeq(strings.TrimSpace(string(index)), "\n") {
		serial := strings.Split(row, "\t")[3]
		if rows[serial] {
			t.Errorf("two rows with the serial %s", serial)
		}
		rows[serial] = true
	}
	files, _ := filepath.Glob(a.Path("/etc/mail/CA/newcerts/*.pem"))
	if len(rows) != members+1 || len(files) != len(rows) {
		t.Errorf("%d rows, %d certificates, want %d\n%s", len(rows), len(files), members+1, log())
	}
	a.Must(t, "sh", "-c", "cd /etc/mail/CA && openssl ca -config openssl.cnf -gencrl -out /dev/null")
	t.Logf("%d members, %d of their questions were asked again", members, retries)
}
