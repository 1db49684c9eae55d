package plan

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// assessment is every fact that a decision rests on, worked out once.
type assessment struct {
	cfg  config.Config
	obs  Observed
	wish Wish
	now  time.Time

	leaf    *x509.Certificate // the installed certificate; nil when none can be read
	key     crypto.PublicKey  // of the installed key; nil when none can be used
	matches bool              // leaf and key belong together
	owner   Owner
	verdict mta.Verdict // sendmail's rules over what lies there

	clock   clock
	name    string // what is to be certified; "" when unusable
	fromCfg bool   // the name was configured, not taken from the system
	names   []string
	hasCA   bool // a CA that can sign now
	revoked *revoked
}

func assess(cfg config.Config, obs Observed, wish Wish, now time.Time) *assessment {
	a := &assessment{cfg: cfg, obs: obs, wish: wish, now: now}
	if cs := obs.Certs.Cert.File; len(cs.Certs) > 0 && cs.Err == nil {
		a.leaf = cs.Certs[0]
	}
	if k := obs.Certs.Key.Key; k.Err == nil && !k.Encrypted {
		a.key = k.Public
	}
	a.matches = a.leaf != nil && a.key != nil && pki.SamePublicKey(a.leaf.PublicKey, a.key)
	a.owner = a.ownerOf(a.leaf)
	a.verdict = mta.Judge(obs.CF, Files(obs.Certs, obs.Accept))
	a.clock = a.judgeClock()
	a.name, a.fromCfg = HostName(cfg, obs.Host)
	if a.name != "" {
		a.names = append([]string{a.name}, cfg.Host.AltNames...)
	}
	a.hasCA = a.canSign()
	a.revoked = a.isRevoked()
	return a
}

// offered says that sendmail would offer STARTTLS with what lies there.
func (a *assessment) offered() bool { return a.verdict.Offered }

// Files turns a certs directory into what mta.Judge takes.
func Files(d certdir.Dir, acc Acceptance) mta.Files {
	f := mta.Files{Root: acc.Root, OwnersOK: acc.OwnersOK, Libssl: acc.Libssl}
	above := append([]durable.Node{d.Node}, d.Parents...)
	view := func(name string, n durable.Node) mta.View {
		return mta.View{Path: filepath.Join(d.Path, name), Node: n, Parents: above}
	}
	f.Dir = mta.View{Path: d.Path, Node: d.Node, Parents: d.Parents}
	f.Cert.View, f.Cert.File = view(certdir.CertName, d.Cert.Node), d.Cert.File
	f.CACert.View, f.CACert.File = view(certdir.CAName, d.CA.Node), d.CA.File
	f.Key.View, f.Key.Key = view(certdir.KeyName, d.Key.Node), d.Key.Key
	f.DH.View = view(certdir.DHName, d.DH.Node)
	f.DH.Bits, f.DH.Err = judgeDH(d.DH.Node.Data)
	return f
}

func judgeDH(data []byte) (bits int, err error) {
	p, err := dh.Read(data)
	if err != nil {
		return 0, err
	}
	return p.P.BitLen(), nil
}

// LeafID names a certificate: SHA-256 of its DER, in hex; "" for nil.
func LeafID(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// PublicID names a key: SHA-256 of its SubjectPublicKeyInfo, in hex (the data
// of a TLSA 3 1 1 record, RFC 7671); "" for nil.
func PublicID(pub crypto.PublicKey) string {
	if pub == nil {
		return ""
	}
	sum := pki.SPKIDigest(pub)
	return hex.EncodeToString(sum[:])
}

// SetID names what sendmail reads at start: certificate, key, CA file, DH
// parameters and, where it is installed, the CRL.
func SetID(d certdir.Dir) string {
	h := sha256.New()
	for _, sum := range [][32]byte{d.Cert.Digest, d.Key.Digest, d.CA.Digest, d.DH.Digest} {
		h.Write(sum[:])
	}
	if d.CRL.Node.Exists {
		h.Write(d.CRL.Digest[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Lying are the names, as of FileID, of what lies in the certs directory and
// may be ours.
func Lying(d certdir.Dir) []string {
	var out []string
	for _, sum := range [][32]byte{d.Cert.Digest, d.Key.Digest, d.CA.Digest, d.DH.Digest, d.CRL.Digest} {
		out = append(out, FileID(sum))
	}
	return out
}

// FileID names the content of a file: its SHA-256 in hex.
func FileID(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

func (a *assessment) facts() Facts {
	f := Facts{
		Name: a.name, Owner: a.owner, Offered: a.offered(), Verdict: a.verdict,
		NamesOurs: a.cfNamesOurs(), Set: SetID(a.obs.Certs),
		LeafID: LeafID(a.leaf), KeyID: PublicID(a.key),
	}
	if a.leaf != nil && a.owner.mine() {
		f.Due = RenewalDue(a.leaf, a.name, a.cfg.Validity.RenewBefore)
	}
	return f
}

// issuedUnder says that c carries a signature of the CA's key.
func issuedUnder(c, ca *x509.Certificate) bool {
	return pki.IssuedBy(c, ca)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}
