package keeper

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// The base stanza's throw-away CA is trusted only as long as its certificate serves. This is true on a member too,
// which trusts the CA on the other host before its own certificate comes.
func TestStanzaOfMember(t *testing.T) {
	openssltest.Need(t)
	f := newFamily(t, "", "", "a.example.org")
	m := f.members["a.example.org"]
	f.ca.now = time.Now().Add(time.Minute)
	f.day(time.Hour) // it knows the CA now
	f.ca.revokes(m.leaf().SerialNumber, "superseded")
	if err := os.RemoveAll(m.cfg.Certs.Dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "../../scripts/stanza.sh", m.cfg.Certs.Dir,
		"a.example.org").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before := pki.ReadCertFile(m.read(m.certs("cacert.pem"))).Certs
	f.dead = true
	f.day(time.Hour)
	f.dead = false
	for range 3 {
		f.day(25 * time.Hour)
	}
	f.everybody("with a certificate of the CA")
	for _, c := range pki.ReadCertFile(m.read(m.certs("cacert.pem"))).Certs {
		if c.Equal(before[0]) {
			t.Error("the stanza's CA is still trusted")
		}
	}
}
