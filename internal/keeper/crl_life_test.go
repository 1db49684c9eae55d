package keeper

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// A CRL is valid for crl.days, however few. sendmail has a valid one at all times, and a new one is made much less
// often than the daemon looks.
func TestCRLLives(t *testing.T) {
	for _, c := range []struct{ days, most int }{{1, 14}, {2, 8}, {3, 6}} {
		t.Run(fmt.Sprint(c.days), func(t *testing.T) {
			t.Parallel()
			f := newFamily(t, fmt.Sprintf("crl: {days: %d, install: true}", c.days), "crl: {install: true}",
				"a.example.org")
			f.day(time.Hour)
			f.ca.revokes(f.ca.leaf().SerialNumber, "superseded")
			f.day(25 * time.Hour)
			f.day(time.Hour)
			sites := map[string]*site{"CA": f.ca, "member": f.members["a.example.org"]}
			last, changes := map[string][]byte{}, map[string]int{}
			for range 6 * 24 { // hours
				f.day(time.Hour)
				for who, s := range sites {
					text, err := os.ReadFile(s.certs("crl.pem"))
					if err != nil {
						t.Fatalf("%v, %s: %v", f.ca.now, who, err)
					}
					if !bytes.Equal(text, last[who]) {
						last[who] = text
						changes[who]++
					}
					for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
						l, err := x509.ParseRevocationList(b.Bytes)
						if err != nil {
							t.Fatal(err)
						}
						if left := l.NextUpdate.Sub(f.ca.now); left <= time.Hour {
							t.Fatalf("%v, %s: the list ends in %v", f.ca.now, who, left)
						}
					}
					if pr := problem(s.Check(context.Background(), plan.Wish{}).Plan, plan.CRLStale); pr != nil {
						t.Fatalf("%v, %s: %+v", f.ca.now, who, pr)
					}
				}
			}
			for who, n := range changes {
				if n > c.most {
					t.Errorf("%s: %d lists in six days", who, n)
				}
			}
		})
	}
}
