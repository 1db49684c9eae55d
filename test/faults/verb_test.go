package faults

import (
	"fmt"
	"strings"
	"testing"
)

// A command that could not do what it was asked for must fail, also where the daemon treats the failed step as a chore.
func TestFailedVerbSaysSo(t *testing.T) {
	p := build(t)
	for _, c := range []struct{ scenario, op, fault string }{
		{"rollover", "mkdir /etc/mail/CA/next", "ENOSPC lasting"},
		{"rollover", "rename /etc/mail/CA/next/cacert.pem", "EIO lasting"},
		{"rollover --now", "write /etc/mail/CA/.mailcertd/.cakey.pem.mailcertd", "ENOSPC short"},
		{"revoke, CRL installed", "write /etc/mail/certs/.mailcertd/crl.pem", "ENOSPC short"},
		{"revoke, CRL installed", "rename /etc/mail/certs/.mailcertd/journal", "EIO lasting"},
		{"revoke", "rename /etc/mail/CA/crl.pem", "EIO lasting"},
		{"issue", "rename /x.pem", "EDQUOT lasting"},
		{"sign", "append /etc/mail/CA/index.txt", "ENOSPC short"},
	} {
		t.Run(c.scenario+" "+c.op, func(t *testing.T) {
			t.Parallel()
			for _, s := range scenarios() {
				if s.name != c.scenario {
					continue
				}
				start := p.start(t, s)
				was, err := see(start)
				if err != nil {
					t.Fatal(err)
				}
				changes, _ := p.lists(t, s, start)
				for i, op := range changes {
					if !strings.HasSuffix(op, c.op) {
						continue
					}
					words := strings.Fields(c.fault)
					f := fault{name: c.fault, set: "MAILCERTD_FAULT=change %d " + c.fault, errno: words[0],
						lasting: words[1] == "lasting"}
					root := place(t)
					clone(t, start, root)
					if e := p.do(s, p.armed, root, fmt.Sprintf(f.set, i+1)); e.code != 1 {
						t.Errorf("%s", e)
					}
					if _, err := p.try(t, s, f, i+1, start, was); err != nil {
						t.Error(err)
					}
					return
				}
				t.Fatalf("no such operation in\n%s", strings.Join(changes, "\n"))
			}
		})
	}
}
