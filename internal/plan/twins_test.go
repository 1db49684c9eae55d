package plan

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"reflect"
	"slices"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
)

// Only the result lacks the server pairs: the change that the sections have found stays as they returned it.
func TestApartLeavesTheChange(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &assessment{}
	a.host = &pair{assessment: a, is: certdir.Host, installed: installed{key: key.Public()}}
	second := &pair{assessment: a, is: certdir.HostECDSA, staged: pki.KeyFile{Public: key.Public()}}
	a.pairs = []*pair{a.host, second}
	c := Change{
		Files: []File{{Name: second.is.KeyFile, Source: FromStaging}, {Name: second.is.CertFile},
			{Name: certdir.DHName}},
		Copies: []Copied{{Name: second.is.KeyFile}, {Name: certdir.DHName}},
	}
	before := Change{Files: slices.Clone(c.Files), Copies: slices.Clone(c.Copies)}
	got := apart(a, c)
	if len(got.Files) != 1 || got.Files[0].Name != certdir.DHName || len(got.Copies) != 1 {
		t.Errorf("got %+v", got)
	}
	if !reflect.DeepEqual(c, before) {
		t.Errorf("the change is now %+v", c)
	}
}
