package test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// What differs between docs/dane.md and its run, all of it: names, addresses, and a TTL of seconds.
var danePageNames = strings.NewReplacer("mail.example.org", "mail-a.example.test", "_tcp.mail.", "_tcp.mail-a.",
	"ns1.example.org", "mail-b.example.test", "example.org", "example.test", "192.0.2.54", danePageSecond,
	"3600", "5")

// The addresses of the name servers beside ns1.example.org, which is the host b, and of the resolver of mx.example.net,
// which is the same host.
const (
	danePageRoot   = "10.99.0.53"
	danePageSecond = "10.99.0.54"
	danePageJudge  = "127.0.0.53"
)

// danePageZone is the zone before the first step, in named.conf.
const danePageZone = `zone "example.test" { type primary; allow-transfer { ` + danePageSecond + `; };
	file "/usr/local/etc/namedb/dynamic/example.test.db"; };
`

// danePageSetup is added to postSetup on the name server. $1 is the zone, $2 its block in named.conf.
const danePageSetup = `set -e
mkdir -p /usr/local/etc/namedb/dynamic /run/named /run/finger
printf '%s' "$1" > /usr/local/etc/namedb/dynamic/example.test.db
printf '%s' "$2" > /usr/local/etc/namedb/zones.conf
grep -q ^bind: /etc/group || echo bind:x:2006: >> /etc/group
printf 'mail_owner = alice\nsetgid_group = smmsp\n' > /run/finger/main.cf
printf '#!/bin/sh\nMAIL_CONFIG=/run/finger exec /usr/sbin/posttls-finger "$@"\n' > /usr/local/sbin/posttls-finger
chmod 755 /usr/local/sbin/posttls-finger
echo nameserver ` + danePageJudge + ` > /etc/resolv.conf
`

// danePageResolver lets service(8) of the mail host know local_unbound, whose program runs already.
const danePageResolver = `set -e
said=$(sed 's/^case $1.$2 in/&\nlocal_unbound.start) echo nameserver 127.0.0.1 > \/etc\/resolv.conf ;;/' /usr/local/sbin/service)
printf '%s\n' "$said" > /usr/local/sbin/service
`

// daneRun is one run of docs/dane.md.
type daneRun struct {
	*post
	root     *bed.Named
	rootText string
	key      string // that sendmail served after the last section
}

func newDANERun(t *testing.T) *daneRun {
	t.Helper()
	d := &daneRun{post: newPost(t)}
	a, b := d.hosts["a"], d.hosts["b"]
	for _, addr := range []string{danePageRoot, danePageSecond} {
		b.Must(t, "ip", "addr", "add", addr+"/32", "dev", "lo")
	}
	a.Must(t, "ip", "route", "add", danePageRoot, "via", b.IP)
	a.Must(t, "ip", "route", "add", danePageSecond, "via", b.IP)
	keys := t.TempDir()
	d.rootText = strings.ReplaceAll(soa, "@ NS ns.", "@ NS ns.\nns A "+danePageRoot) +
		"example.test NS mail-b.example.test.\nexample.test NS ns2.example.test.\nmail-b.example.test A " + b.IP +
		"\nns2.example.test A " + danePageSecond + "\n"
	d.root = bed.NewNamed(t, b.Command, []string{danePageRoot}, "recursion no;", "",
		bed.NamedZone{Name: ".", Statements: signing(keys), Text: d.rootText})
	zone := "$TTL 5\n@ SOA mail-b.example.test. root.example.test. 1 3600 600 86400 5\n" +
		"@ NS mail-b\n@ NS ns2\nmail-b A " + b.IP + "\nns2 A " + danePageSecond + "\n@ MX 10 mail-a\nmail-a A " +
		a.IP + "\n"
	b.Must(t, "bash", "-c", danePageSetup, "setup", zone, danePageZone)
	first := bed.NewNamed(t, b.Command, []string{b.IP, "127.0.0.1"}, "recursion no;",
		`include "/usr/local/etc/namedb/zones.conf";`)
	b.Must(t, "sh", "-c", `ln -s "$1" /run/named/session.key; shift; printf '#!/bin/sh\nexec %s "$@"\n' "$*" > `+
		`/usr/local/sbin/rndc; chmod 755 /usr/local/sbin/rndc`, "sh", first.Path("session.key"),
		"/usr/sbin/"+strings.Join(first.RNDC(), " ")) // the shell would find itself by the name alone
	bed.NewNamed(t, b.Command, []string{danePageSecond}, "recursion no;", "", bed.NamedZone{Name: "example.test",
		Statements: "type secondary; primaries { " + b.IP + "; };"})
	anchor, err := os.ReadFile(zoneKey(t, keys, ""))
	if err != nil {
		t.Fatal(err)
	}
	for h, addr := range map[*bed.Host]string{a: "127.0.0.1", b: danePageJudge} {
		bed.NewUnbound(t, h.Command, []string{addr}, danePageRoot, string(anchor))
	}
	a.Must(t, "bash", "-c", danePageResolver)
	d.hosts["ns"], d.hosts["mx"] = b, b
	d.as, d.between = danePageNames.Replace, d.after
	return d
}

// Every command of docs/dane.md must work with a real sendmail, BIND, unbound and posttls-finger: what the owner does
// by hand, what mailcertd does instead, and the way from one to the other.
func TestDANEPage(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "openssl", "script", "/usr/sbin/sshd", "ssh", "sftp", "bash", "named", "rndc", "tsig-keygen",
		"dnssec-dsfromkey", "dig", "nsupdate", "drill", "unbound", "posttls-finger")
	blocks := readPage(t, danePage)
	r := &ran{lines: map[int]bool{}}
	runTracks(t, blocks, r, map[string]func(*testing.T, *daneRun){
		"by-hand":   func(t *testing.T, d *daneRun) { d.track(t, r, "by-hand", blocks) },
		"mailcertd": func(t *testing.T, d *daneRun) { d.track(t, r, "mailcertd", blocks) },
		"moving": func(t *testing.T, d *daneRun) {
			of := func(kind string, sections ...string) (out []block) {
				for _, b := range blocks {
					number, _, _ := strings.Cut(b.section, ".")
					if (b.kind == kind || b.kind == shared) && slices.Contains(sections, number) {
						out = append(out, b)
					}
				}
				return out
			}
			d.track(t, r, "by-hand", of("by-hand", "1", "2", "3", "5", "6", "7", "8", "9", "10", "11"))
			before := d.records(t, danePageSecond)
			d.track(t, r, "mailcertd", of("mailcertd", "4"))
			d.track(t, r, "moving", blocks[len(blocks)-1:])
			if is := d.records(t, danePageSecond); !slices.Equal(is, before) {
				t.Errorf("the records are %q, were %q", is, before)
			}
		},
	}, newDANERun)
}

// danePageKey prints the digest of the key that sendmail serves.
const danePageKey = `openssl s_client -starttls smtp -connect 127.0.0.1:25 < /dev/null 2> /dev/null |
	openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -c -64`

// after checks what the page says after a section, and waits for what the next one needs.
func (d *daneRun) after(t *testing.T, done, _ string) {
	t.Helper()
	a, b := d.hosts["a"], d.hosts["b"]
	managed := a.Must(t, "sh", "-c", "pgrep -x mailcertd || :") != ""
	number, _, _ := strings.Cut(done, ".")
	switch number {
	case "1":
		bed.Wait(t, "the key of the zone", func() error {
			if out := b.Must(t, "dig", "+short", "@127.0.0.1", "example.test", "DNSKEY"); out == "" {
				return errors.New("none")
			}
			return nil
		})
	case "2":
		delegate(t, d.root, d.rootText, b.Must(t, "cat", "/var/tmp/example.test.ds"))
	case "4":
		d.forbidden(t)
	case "5":
		d.settled(t, done, false)
	case "8":
		bed.Wait(t, "both records at the secondary server", func() error {
			if is := d.records(t, danePageSecond); len(is) != 2 {
				return fmt.Errorf("%q", is)
			}
			return nil
		})
	case "7", "13":
		if managed {
			d.settled(t, done, true)
		}
	case "11", "15":
		d.settled(t, done, number == "11")
	case "14":
		d.changed(t, done)
		bed.Wait(t, "a record to remove", func() error {
			out := a.Must(t, "mailcertd", "status", "--json")
			if !regexp.MustCompile(`"remove": \[\s+"_25`).MatchString(out) {
				return errors.New(out)
			}
			return nil
		})
	case "16":
		for _, addr := range []string{b.IP, danePageSecond} {
			bed.Wait(t, "no record", func() error {
				if is := d.records(t, addr); len(is) > 0 {
					return fmt.Errorf("%q", is)
				}
				return nil
			})
		}
		if managed {
			time.Sleep(3 * time.Second)
			if is := d.records(t, b.IP); len(is) > 0 {
				t.Errorf("mailcertd has published %q again", is)
			}
		}
	}
}

// records are the TLSA records of the mail host at a name server, "" as the address for the mail host's resolver.
func (d *daneRun) records(t *testing.T, addr string) (out []string) {
	t.Helper()
	h := d.hosts["b"]
	if addr == "" {
		h, addr = d.hosts["a"], "127.0.0.1"
	}
	for line := range strings.Lines(h.Must(t, "dig", "+short", "@"+addr, "_25._tcp.mail-a.example.test", "TLSA")) {
		f := strings.Fields(line)
		if len(f) < 4 {
			t.Fatalf("%q", line)
		}
		out = append(out, strings.ToLower(strings.Join(f[:3], " ")+" "+strings.Join(f[3:], "")))
	}
	slices.Sort(out)
	return out
}

// finger is what a sender says that does not deliver; nil: it delivers by verified TLS.
func (d *daneRun) finger() error {
	out, _ := d.hosts["b"].Run("posttls-finger", "-c", "-l", "dane", "-L", "summary", "example.test")
	if !strings.Contains(out, "Verified TLS connection") {
		return errors.New(out)
	}
	return nil
}

// changed waits until sendmail serves another key than after the last section, and requires that a sender delivers at
// any time, unless the page says that none does.
func (d *daneRun) changed(t *testing.T, when string) {
	t.Helper()
	bed.Wait(t, when+": another key", func() error {
		// sendmail closes its port for a moment when it restarts.
		if err := d.finger(); err != nil && !strings.HasPrefix(when, "13.") &&
			!strings.Contains(err.Error(), "Connection refused") {
			t.Errorf("%s: a sender: %v", when, err)
		}
		if is := d.hosts["a"].Must(t, "bash", "-c", danePageKey); is == d.key {
			return fmt.Errorf("still %s", is)
		}
		return nil
	})
}

// settled waits until all name servers and the mail host's resolver have one record, that of the served key. another
// says that the key must be another one than after the last section.
func (d *daneRun) settled(t *testing.T, when string, another bool) {
	t.Helper()
	if another {
		d.changed(t, when)
	}
	key := d.hosts["a"].Must(t, "bash", "-c", danePageKey)
	for _, addr := range []string{d.hosts["b"].IP, danePageSecond, ""} {
		bed.Wait(t, when+": the record at "+addr, func() error {
			if is := d.records(t, addr); !slices.Equal(is, []string{"3 1 1 " + strings.TrimSpace(key)}) {
				return fmt.Errorf("%q, the key is %s", is, key)
			}
			return nil
		})
	}
	bed.Wait(t, when+": a sender that delivers", func() error { return d.finger() })
	if number, _, _ := strings.Cut(when, "."); number == "7" || number == "13" { // by mailcertd
		bed.Wait(t, when+": the change is complete", func() error {
			out := d.hosts["a"].Must(t, "mailcertd", "status", "--json")
			if !strings.Contains(out, `"changes": []`) {
				return errors.New(out)
			}
			return nil
		})
	}
	d.key = key
}

// forbidden requires that mailcertd's TSIG key cannot change anything but the TLSA records of the mail host.
func (d *daneRun) forbidden(t *testing.T) {
	t.Helper()
	for _, change := range []string{"add mail-a.example.test. 5 A 10.99.0.9", "del mail-a.example.test. A",
		"add example.test. 5 MX 1 mail-b.example.test.", "add _25._tcp.mail-a.example.test. 5 TXT x",
		"add _25._tcp.mail-b.example.test. 5 TLSA 3 1 1 " + sha(nil)} {
		out, code := d.hosts["a"].Run("sh", "-c", `printf '%s\nsend\n' "$1" | nsupdate -k /usr/local/etc/mailcertd.key`,
			"sh", change)
		if code == 0 || !strings.Contains(out, "REFUSED") {
			t.Errorf("%s: status %d\n%s", change, code, out)
		}
	}
}
