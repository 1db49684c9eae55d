package keeper

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A person takes a request for the client pair to another CA and brings the certificate back. It is installed for the
// key that is here, or together with the new key that waits for it. It changes no other pair, and it is kept.
func TestInstallClientPair(t *testing.T) {
	for _, rekey := range []bool{false, true} {
		t.Run(fmt.Sprint("rekey ", rekey), func(t *testing.T) {
			s := newSite(t, "client: {issuer: local}")
			s.settle(plan.Wish{})
			o := otherCA(t, s.now)
			before := s.contents()
			csr, err := s.Request(t.Context(), certdir.Client, rekey)
			if err != nil {
				t.Fatal(err)
			}
			req, err := pki.ReadRequest(csr)
			if err != nil {
				t.Fatal(err)
			}
			s.later(time.Hour)
			s.settle(plan.Wish{}) // the new key waits
			c, err := ca.Issue(t.Context(), &durable.Disk{}, o,
				ca.Request{Public: req.Public, Name: name, Days: 90, Backdate: time.Hour}, rand.Reader, s.now)
			if err != nil {
				t.Fatal(err)
			}
			text := encode(append(ca.Bundle(ca.Observe(o.Dir, ca.Filter{}), s.now), c)...)
			r, _, err := s.install(text, nil)
			if err != nil || !r.Plan.Empty() {
				t.Fatalf("%v, left to do: %v", err, r.Plan.Actions)
			}
			key, err := pki.ParseKey(s.read(s.certs("client.key")))
			if err != nil || !pki.SamePublicKey(key.Public(), c.PublicKey) ||
				!bytes.Contains(s.read(s.certs("client.cert")), pki.EncodeCertificate(c.Raw)) {
				t.Errorf("the client pair is not the one that was brought: %v", err)
			}
			after := s.contents()
			if same := before["client.key"] == after["client.key"]; same == rekey {
				t.Errorf("client.key is the old key: %v", same)
			}
			if before["host.key"] != after["host.key"] || before["host.cert"] != after["host.cert"] {
				t.Error("the host's own pair has changed")
			}
			s.twice(text, nil)
			s.later(48 * time.Hour)
			s.settle(plan.Wish{})
			is := s.contents()
			if is["client.cert"] != after["client.cert"] || is["client.key"] != after["client.key"] {
				t.Error("two days later the client pair has been replaced")
			}
		})
	}
}
