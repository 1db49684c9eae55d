package test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// purchase makes a certificate as a public CA would sell it, in /etc/mail/new on the host: a leaf with the serial
// number $SERIAL, under an intermediate. The root and the intermediate are made once.
const purchase = `mkdir -p /etc/mail/new; cd /etc/mail/new; rm -f host.*
ext() { printf 'basicConstraints=critical,CA:%s\nsubjectAltName=DNS:mail-a.example.test\n' $1 >ext; }
[ -e cacert.pem ] || {
	openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=Root -keyout root.key -out cacert.pem
	openssl req -nodes -newkey rsa:2048 -subj /CN=Between -keyout mid.key -out mid.csr
	ext TRUE; openssl x509 -req -in mid.csr -CA cacert.pem -CAkey root.key -set_serial 7 -extfile ext -out mid.pem
}
openssl req -nodes -newkey rsa:2048 -subj /CN=mail-a.example.test -keyout host.key -out leaf.csr
ext FALSE; openssl x509 -req -days 90 -in leaf.csr -CA mid.pem -CAkey mid.key -set_serial 0x$SERIAL -extfile ext -out leaf.pem
cat leaf.pem mid.pem >host.cert`

// An owner copies a bought pair into the certs directory while the daemon runs: certificate or key first, in one piece
// or in several, or over a pair that works. sendmail gets one HUP, when the pair is complete, and never serves anything
// else.
func TestBought(t *testing.T) {
	type step struct {
		file  string
		parts int // written one after the other, with a look after each
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"key first", []step{{"host.key", 1}, {"host.cert", 1}}},
		{"certificate first", []step{{"host.cert", 1}, {"host.key", 1}}},
		{"in pieces, key first", []step{{"host.key", 3}, {"host.cert", 3}}},
		{"in pieces, certificate first", []step{{"host.cert", 2}, {"host.key", 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
			m := bed.Binary(t, "")
			write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer: none\nlog: {target: stderr}\n", 0o644)
			verb := func(args ...string) (string, int) {
				return h.Run(append([]string{m, "--config=/etc/mail/mailcertd.yaml"}, args...)...)
			}
			// The first purchase is installed before the daemon starts.
			h.Must(t, "sh", "-ec", "SERIAL=A1; { "+purchase+
				"; } >/dev/null 2>&1; mkdir -m 755 ../certs; cp host.key host.cert cacert.pem ../certs; chmod 600 "+
				"../certs/host.key")
			if out, code := verb("ensure"); code != 0 {
				t.Fatalf("ensure: %d\n%s", code, out)
			}
			h.Start(t)
			if got := h.Serial("127.0.0.1:25"); got != "A1" {
				t.Fatalf("serves %q", got)
			}
			run := h.Command(m, "--config=/etc/mail/mailcertd.yaml", "--log-level=debug", "run")
			d := &daemon{}
			run.Stdout, run.Stderr = &d.out, &d.out
			run.WaitDelay = time.Second // the daemon itself ends when the host does
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
			quiet := func() { // waits until the daemon has looked and is idle
				t.Helper()
				n := d.looks()
				bed.Wait(t, "a look", func() error {
					if d.looks() <= n {
						return errors.New(d.log())
					}
					return nil
				})
				time.Sleep(700 * time.Millisecond) // longer than the daemon collects events
				bed.Wait(t, "rest", d.idle)
			}
			bed.Wait(t, "the first look", func() error {
				if d.looks() == 0 {
					return errors.New(d.log())
				}
				return d.idle()
			})
			for _, serial := range []string{"B2", "C3"} {
				h.Must(t, "sh", "-ec", "SERIAL="+serial+"; { "+purchase+"; } >/dev/null 2>&1")
				restarts := strings.Count(h.Log(), "restarting")
				before := h.Serial("127.0.0.1:25")
				for i, s := range c.steps {
					want, err := os.ReadFile(h.Path("/etc/mail/new/" + s.file))
					if err != nil {
						t.Fatal(err)
					}
					for p := 1; p <= s.parts; p++ {
						path, part := h.Path("/etc/mail/certs/"+s.file), want[:len(want)*p/s.parts]
						if p < s.parts || i < len(c.steps)-1 {
							write(t, path, string(part), 0o600)
							quiet()
							// With the first certificate complete the pair works, and an ensure that a person runs
							// would accept it. The daemon waits until the rest of the chain has come.
							whole := s.file == "host.cert" && i > 0 && strings.Contains(string(part), "END CERTIFICATE")
							if !whole {
								if out, code := verb("ensure"); code != 1 || !strings.Contains(out, "issuer is none") {
									t.Errorf("%s, part %d: ensure: %d\n%s", s.file, p, code, out)
								}
							}
							if got, _ := os.ReadFile(path); string(got) != string(part) {
								t.Fatalf("%s, part %d was changed\n%s", s.file, p, d.log())
							}
							if got := h.Serial("127.0.0.1:25"); got != before {
								t.Fatalf("%s, part %d: serves %q", s.file, p, got)
							}
							continue
						}
						write(t, path, string(part), 0o600)
					}
				}
				bed.Wait(t, "serial "+serial, func() error {
					if got := h.Serial("127.0.0.1:25"); got != serial {
						return fmt.Errorf("serves %q\n%s", got, d.log())
					}
					return nil
				})
				time.Sleep(700 * time.Millisecond)
				bed.Wait(t, "rest", d.idle)
				for _, name := range []string{"host.key", "host.cert", "cacert.pem"} {
					want, _ := os.ReadFile(h.Path("/etc/mail/new/" + name))
					if got, _ := os.ReadFile(h.Path("/etc/mail/certs/" + name)); string(got) != string(want) {
						t.Errorf("%s was changed", name)
					}
				}
				if out, code := verb("ensure"); code != 0 || !strings.Contains(out, "keeps it as it is") {
					t.Errorf("ensure: %d\n%s", code, out)
				}
				if n := strings.Count(h.Log(), "restarting") - restarts; n != 1 {
					t.Errorf("%d restarts\n%s\n%s", n, h.Log(), d.log())
				}
				// sendmail sends the leaf alone, unless OpenSSL finds the intermediate by its hash link.
				if out, _ := h.Run("sh", "-c",
					"echo QUIT | openssl s_client -starttls smtp -connect 127.0.0.1:25 -no-CApath -CAfile "+
						"/etc/mail/new/cacert.pem 2>&1"); !strings.Contains(out, "Verify return code: 0 (ok)") {
					t.Errorf("a peer that knows the root alone:\n%s", out)
				}
			}
		})
	}
}
