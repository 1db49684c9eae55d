package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailcertd/test/bed"
)

// These are all differences between the document and the run.
var (
	// postNames maps the document's host names to those of the test hosts.
	postNames = strings.NewReplacer("krb5.home.example", "mail-a.example.test", "dhcp.home.example",
		"mail-b.example.test")

	// postSize replaces the large dh.param of the document, which takes hours to make.
	postSize = strings.NewReplacer("dh.param 4096", "dh.param 1024")

	// postTyped is what a person types at each prompt. Only the output after the last answer is searched, so each
	// prompt is answered once.
	postTyped = []struct{ prompt, answer string }{
		{"Enter PEM pass phrase:", postPassphrase},
		{"Enter pass phrase for", postPassphrase},
		{"Passphrase of", postPassphrase},
		{"[y/n]", "y"},
		{"[y/N] ", "y"},
	}
)

// postPassphrase is the passphrase that the document writes into a file.
const postPassphrase = "correct horse battery staple"

// postSetup gives a test host what FreeBSD has: its own /root and /usr/local, service(8) and sysrc(8) with the real
// rc.d/mailcertd, the base system's certificates, ssh for root, and a log file.
const postSetup = `set -e
for d in sbin etc share; do mount -t tmpfs -o mode=755 tmpfs /usr/local/$d; done
cd /usr/local
mkdir -p etc/rc.d share/certs
cp "$1/mailcertd" sbin/mailcertd; cp "$1/daemon" sbin/daemon
cp "$2/scripts/stanza.sh" etc/stanza.sh; cp "$2/test/rcsubr/rc.subr" etc/rc.subr
sed 's|%%PREFIX%%|/usr/local|g; s|/usr/sbin/daemon|/usr/local/sbin/daemon|; s|/etc/rc.subr|/usr/local/etc/rc.subr|' "$2/rc.d/mailcertd" > etc/rc.d/mailcertd
mount -t tmpfs -o mode=755 tmpfs /root # only now, because $2 may be in it
mkdir -p /var/log /root/.ssh /run/sshd
cat > sbin/sysrc <<'END'
#!/bin/sh
to=rc.conf; if [ "$1" = -f ]; then to=$(basename "$2"); shift 2; fi
case $1 in *=*) echo "$1" >> "/usr/local/etc/$to" ;; *) echo "sysrc: unknown variable" >&2; exit 1 ;; esac
END
cat > sbin/service <<'END'
#!/bin/bash
# service NAME VERB
pid() { head -n 1 /var/run/sendmail.pid 2>/dev/null; }
answers() { (exec 3<>/dev/tcp/127.0.0.1/25) 2>/dev/null; }
case $1.$2 in
mailcertd.*)
	shift
	exec env -i HOME=/ PATH=/sbin:/bin:/usr/sbin:/usr/bin RCSUBR_CONF=/usr/local/etc/rc.conf bash /usr/local/etc/rc.d/mailcertd "$@" ;;
sendmail.restart) "$0" sendmail stop; "$0" sendmail start ;;
sendmail.stop) kill "$(pid)" || exit; while answers; do sleep 0.05; done ;;
sendmail.start)
	cd /etc/mail; [ -e certs/host.cert ] || [ -e certs/host.key ] || [ -e certs/cacert.pem ] ||
		sh /usr/local/etc/stanza.sh /etc/mail/certs "$(hostname)"
	env -i HOME=/ PATH=/sbin:/bin:/usr/sbin:/usr/bin /usr/sbin/sendmail -L sm-mta -bd -q30m
	for _ in $(seq 200); do answers && exit 0; sleep 0.05; done; exit 1 ;;
*) exit 1 ;;
esac
END
chmod 755 sbin/* etc/rc.d/mailcertd
[ -e /usr/sbin/service ] && mount --bind sbin/service /usr/sbin/service
printf '%s\n' 'HostKey /root/.ssh/host_key' 'PidFile /run/sshd.pid' 'UsePAM no' 'PasswordAuthentication no' 'PermitRootLogin yes' 'Subsystem sftp internal-sftp' > /root/.ssh/sshd_config
chmod 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/host_key
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
/usr/sbin/sshd -f /root/.ssh/sshd_config -E /var/log/sshd.log
cat > /etc/mail/freebsd.submit.mc <<'END'
divert(0)dnl
define(` + "`confCF_VERSION', `Submit'" + `)dnl
define(` + "`__OSTYPE__',`'" + `)dnl
define(` + "`confDONT_INIT_GROUPS', `True'" + `)dnl
FEATURE(` + "`msp', `[127.0.0.1]'" + `)dnl
END
printf '%s\n\t%s\n' all: 'test -e $$(hostname).submit.mc || cp freebsd.submit.mc $$(hostname).submit.mc' install: \
	'm4 -D_CF_DIR_=/usr/share/sendmail/cf/ /usr/share/sendmail/cf/m4/cf.m4 $$(hostname).submit.mc > submit.cf' > /etc/mail/Makefile
cp /etc/mail/freebsd.submit.mc "/etc/mail/$(hostname).submit.mc"; make -C /etc/mail install; rm "/etc/mail/$(hostname).submit.mc"
chown smmsp:smmsp /var/spool/clientmqueue; chmod 770 /var/spool/clientmqueue
cat /etc/ssl/certs/ca-certificates.crt > share/certs/ca-root-nss.crt || echo "the bundle of this test is small"
service sendmail start
`

// postSeller plays a CA that sells a certificate for the name $1; it writes it into the directory $2.
const postSeller = `set -e; cd "$2"
openssl req -x509 -nodes -newkey rsa:2048 -days 3650 -subj '/C=US/O=Seller/CN=Seller Root' -keyout root.key -out root.crt
openssl req -nodes -newkey rsa:2048 -subj '/C=US/O=Seller/CN=Seller Intermediate' -keyout mid.key -out mid.csr
printf 'basicConstraints=critical,CA:true\n' > mid.ext
openssl x509 -req -in mid.csr -CA root.crt -CAkey root.key -set_serial 2 -days 1000 -extfile mid.ext -out intermediate.crt
openssl req -nodes -newkey rsa:2048 -subj "/CN=$1" -keyout "$1.key" -out leaf.csr
printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$1" > leaf.ext
openssl x509 -req -in leaf.csr -CA intermediate.crt -CAkey mid.key -set_serial 3 -days 90 -extfile leaf.ext -out "$1.crt"
`

// post is two hosts before their owner has done anything, and a document whose code blocks run there.
type post struct {
	hosts   map[string]*bed.Host // a, b
	as      func(text string) string
	between func(t *testing.T, done, next string) // checks what the document says about the hosts after a section
}

func newPost(t *testing.T) *post {
	t.Helper()
	dir := t.TempDir()
	for p := dir; p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
		if filepath.Dir(p) == os.TempDir() {
			break
		}
	}
	top, _ := filepath.Abs("..")
	if out, err := exec.Command("cp", bed.Binary(t, ""), filepath.Join(dir, "mailcertd")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bed.Put(t, "./rcsubr/daemon", filepath.Join(dir, "daemon"))
	a, b := bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), bed.NewHost(t, "mail-b.example.test", "10.99.0.2")
	bed.Connect(t, a, b)
	if out, err := exec.Command("sh", "-c", postSeller, "sh", b.Name, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := &post{hosts: map[string]*bed.Host{"a": a, "b": b}}
	p.as = func(text string) string { return postSize.Replace(postNames.Replace(text)) }
	p.between = p.afterPost
	var keys, known string
	for _, h := range []*bed.Host{a, b} {
		h.Must(t, "bash", "-c", postSetup, "setup", dir, top)
		keys += h.Must(t, "cat", "/root/.ssh/id_ed25519.pub")
		known += h.Name + " " + h.Must(t, "cat", "/root/.ssh/host_key.pub")
		h.Must(t, "sh", "-c", "cat "+dir+"/root.crt >> /usr/local/share/certs/ca-root-nss.crt")
	}
	for _, h := range []*bed.Host{a, b} {
		h.Must(t, "sh", "-c",
			`umask 077; printf '%s' "$1" > /root/.ssh/authorized_keys; printf '%s' "$2" > /root/.ssh/known_hosts`,
			"sh", keys, known)
	}
	b.Must(t, "sh", "-c", "cp "+dir+"/"+b.Name+".* "+dir+"/intermediate.crt /root/")
	return p
}

// ran has the line numbers of the blocks that some track has run. mu guards them, because tracks run in parallel.
type ran struct {
	mu    sync.Mutex
	lines map[int]bool
}

// run does on the block's host what the block says.
func (p *post) run(t *testing.T, b block, r *ran) {
	t.Helper()
	h := p.hosts[b.host]
	if h == nil {
		t.Fatalf("line %d: no host %q", b.line, b.host)
	}
	text := p.as(b.text)
	switch b.lang {
	case "yaml", "conf":
		h.Must(t, "sh", "-c", `printf '%s' "$1" > "$2"`, "sh", text, b.file)
	case "sh":
		write(t, h.Path("/var/tmp/block.sh"), text, 0o700)
		p.shell(t, h, b)
	default:
		t.Fatalf("line %d: no test runs a block of %q", b.line, b.lang)
	}
	r.mu.Lock()
	r.lines[b.line] = true
	r.mu.Unlock()
}

// trusted sends mail in both directions and requires verify=OK in both logs for every connection.
func (p *post) trusted(t *testing.T, when string) {
	t.Helper()
	a, b := p.hosts["a"], p.hosts["b"]
	before := map[*bed.Host]map[string]int{a: verdicts(a), b: verdicts(b)}
	if err := mail(a, b, 1); err != nil {
		t.Fatal(err)
	}
	if err := mail(b, a, 2); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, when+": a line of each direction in both logs", func() error {
		for h, was := range before {
			is := verdicts(h)
			for _, v := range []string{"client verify=OK", "server verify=OK"} {
				if is[v] <= was[v] {
					retry(a, b)
					return fmt.Errorf("%s: %v, and before %v", h.Name, is, was)
				}
			}
		}
		return nil
	})
	for h, was := range before {
		for v, n := range verdicts(h) {
			if !strings.HasSuffix(v, "verify=OK") && n > was[v] {
				t.Errorf("%s: %s logs %s", when, h.Name, v)
			}
		}
	}
}

// postLast is the section after which no file of mailcertd is left.
const postLast = "19. Removing everything"

// TestPost runs every command of docs/from-the-post.md on two real hosts: what the owner does by hand, what mailcertd
// does instead, and the steps from one to the other.
func TestPost(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "openssl", "make", "m4", "script", "/usr/sbin/sshd", "ssh", "sftp", "bash")
	blocks := readPage(t, postPage)
	r := &ran{lines: map[int]bool{}}
	tracks := map[string]func(*testing.T, *post){
		"by-hand": func(t *testing.T, p *post) { p.track(t, r, "by-hand", blocks) },
		"mailcertd": func(t *testing.T, p *post) {
			p.track(t, r, "mailcertd", blocks)
			for n, h := range p.hosts {
				if _, err := os.Stat(h.Path("/var/db/mailcertd/state.json")); err == nil {
					t.Errorf("%s has state after purge", n)
				}
			}
		},
		"moving": func(t *testing.T, p *post) {
			var before []block // makes a CA and two hosts by hand
			for _, b := range blocks {
				if b.kind == "by-hand" && !strings.HasPrefix(b.section, "15.") {
					before = append(before, b)
				} else if b.kind == "by-hand" {
					break
				}
			}
			p.track(t, r, "by-hand", before)
			p.track(t, r, "moving", blocks)
			// Step 16 says that mailcertd leaves a cacert.pem alone that is a link.
			a := p.hosts["a"]
			a.Must(t, "ln", "-sf", "/usr/local/share/certs/ca-root-nss.crt", "/etc/mail/certs/cacert.pem")
			bed.Wait(t, "the own CA in a file of its own", func() error {
				if _, err := os.Stat(a.Path("/etc/mail/certs/trust/mailcertd-ca.pem")); err != nil {
					return err
				}
				if out, code := a.Run("/usr/local/sbin/mailcertd", "check"); code != 0 { // no link yet
					return errors.New(out)
				}
				return nil
			})
			p.trusted(t, "with cacert.pem a link to the bundle")
			if to, err := os.Readlink(a.Path("/etc/mail/certs/cacert.pem")); err != nil ||
				!strings.HasSuffix(to, "ca-root-nss.crt") {
				t.Errorf("cacert.pem is %q, %v", to, err)
			}
		},
	}
	runTracks(t, blocks, r, tracks, newPost)
}

// shared is the kind of the blocks that every track runs.
const shared = "both"

// runTracks runs every track of a page on hosts of its own, and wants every block to be run by one of them.
func runTracks[P any](t *testing.T, blocks []block, r *ran, tracks map[string]func(*testing.T, P),
	hosts func(*testing.T) P) {
	t.Helper()
	for _, b := range blocks {
		if tracks[b.kind] == nil && b.kind != shared {
			t.Errorf("line %d: no test runs a block of %q", b.line, b.kind)
		}
	}
	t.Run("tracks", func(t *testing.T) {
		for name, do := range tracks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				do(t, hosts(t))
			})
		}
	})
	for _, b := range blocks {
		if !r.lines[b.line] {
			t.Errorf("line %d: this block was not run:\n%s", b.line, b.text)
		}
	}
}

// track runs the blocks of one kind, and those that every track runs, in their order.
func (p *post) track(t *testing.T, r *ran, kind string, blocks []block) {
	t.Helper()
	done := ""
	for _, b := range blocks {
		if b.kind != kind && b.kind != shared {
			continue
		}
		if b.section != done {
			p.between(t, done, b.section)
			done = b.section
		}
		p.run(t, b, r)
	}
	p.between(t, done, "")
}

// afterPost checks what docs/from-the-post.md says about the hosts after a section. Mail must flow in both directions
// with verify=OK after the section that reads both logs, and before the section that removes everything.
func (p *post) afterPost(t *testing.T, done, next string) {
	t.Helper()
	number, _, _ := strings.Cut(done, ".")
	switch {
	case number == "13":
		p.local(t, true)
	case number == "15":
		if v := verdict(t, p.hosts["b"], p.hosts["a"], 15); v != "FAIL" {
			t.Errorf("before public CAs are trusted, a bought certificate is %s", v)
		}
	case done == postLast:
		for _, h := range p.hosts {
			if !h.Offers(t) {
				t.Errorf("%s offers no STARTTLS at the end", h.Name)
			}
		}
	case number == "14", next == postLast, next == "":
		p.trusted(t, "after "+done)
		if number == "14" {
			p.local(t, false)
		}
	}
}

// local sends a mail from a local program on both hosts, through submit.cf. fails says whether that mail, or its
// delivery to the other host, must leave a verify=FAIL in one of the logs.
func (p *post) local(t *testing.T, fails bool) {
	t.Helper()
	for name, other := range map[string]string{"a": "b", "b": "a"} {
		h, to := p.hosts[name], p.hosts[other]
		from := map[*bed.Host]int{h: len(h.Log()), to: len(to.Log())}
		h.Must(t, "sh", "-c", "printf 'Subject: local\n\nhello\n' | /usr/sbin/sendmail -oi root@"+h.Name+
			" alice@"+to.Name)
		bed.Wait(t, "a local mail of "+h.Name, func() error {
			if log := h.Log()[from[h]:]; !strings.Contains(log, "STARTTLS=client, relay=[127.0.0.1], version=") ||
				!strings.Contains(to.Log()[from[to]:], "STARTTLS=server, relay="+h.Name) {
				return errors.New(log)
			}
			return nil
		})
		if logs := h.Log()[from[h]:] + to.Log()[from[to]:]; strings.Contains(logs, "verify=FAIL") != fails {
			t.Errorf("a local mail of %s: a FAIL in the logs: %v, want %v\n%s", h.Name, !fails, fails, logs)
		}
	}
}
