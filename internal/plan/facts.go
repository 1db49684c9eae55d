package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// Facts are the observations on which the decision is based, for reports.
type Facts struct {
	Name      string    // the host name that is to be certified, "" when unusable
	Owner     Owner     // whose certificate is installed
	Due       time.Time // when the installed certificate is renewed; zero: mailcertd does not renew it
	Offered   bool      // sendmail would offer STARTTLS with these files
	Works     bool      // Offered, and key and certificate match: sendmail may get a HUP
	Verdict   mta.Verdict
	NamesOurs bool   // sendmail.cf names our files
	Set       string // digest of what sendmail reads at start
	LeafID    string // SHA-256 of the installed leaf's DER, hex; "" for none
	// Renewed is the LeafID that a renewal replaces: the installed leaf, or the one that is restored in its place; ""
	// for none.
	Renewed string
	Pairs   []PairFacts // of every pair that is wanted or there, the host's own first
	KeyID   string      // SHA-256 of the installed key's SubjectPublicKeyInfo, hex; "" for none
}

// PairFacts are the Facts of one pair.
type PairFacts struct {
	Pair   certdir.Pair
	Wanted bool // the configuration asks for it
	Named  bool // sendmail.cf names it in the options for this pair
	Owner  Owner
	LeafID string
	KeyID  string
	// Renewed is what a renewal replaces: LeafID, or the leaf that comes back in its place.
	Renewed string
	// Due is when the installed certificate is renewed, and By what that follows from; zero: mailcertd does not renew
	// it.
	Due time.Time
	By  DueBy
	// Waits says that the installed certificate is an interim one, which is in use until its issuer has signed another.
	// Asks is when a CA on another host is asked for that one; zero: it is not known.
	Waits bool
	Asks  time.Time
	// Spare and SpareKey say that a `renew`, and a `renew --rekey`, leaves out the pair: it was renewed while another
	// one failed.
	Spare, SpareKey bool
	// Public says that an ACME CA is asked for this pair, and Window is what it has said of the installed certificate;
	// zero: nothing yet.
	Public bool
	Window state.ACME
	// Directory is the ACME CA that issued the installed certificate; "": it is not known.
	Directory string
}

func facts(a *assessment) Facts {
	p := a.host
	f := Facts{
		Name: a.name, Owner: p.owner, Offered: a.verdict.Offered, Works: a.works(), Verdict: a.verdict,
		NamesOurs: a.cfNamesOurs(), Set: SetID(a.obs.Certs),
		LeafID: pki.Fingerprint(p.leaf), KeyID: pki.KeyFingerprint(p.key),
	}
	for _, q := range a.pairs {
		if !q.wanted && !q.exists() {
			continue
		}
		one := PairFacts{Pair: q.is, Wanted: q.wanted, Named: namesPair(a.cf(), a.obs.Certs, q.is), Owner: q.owner,
			LeafID: pki.Fingerprint(q.leaf), KeyID: pki.KeyFingerprint(q.key)}
		one.Waits = q.owner == Interim && q.issuer.Kind != config.IssuerNone
		one.Spare, one.SpareKey = q.spare()
		one.Renewed, one.Public = one.LeafID, q.issuer.acme()
		if q.leaf != nil && q.owner.mine() {
			one.Due, one.By = q.dueBy(q.leaf)
		}
		if m := a.obs.State.ACME[q.is.Name]; q.issuer.acme() && q.leaf != nil && m.Leaf == one.LeafID {
			one.Window = m
		}
		if q.issuer.acme() {
			one.Directory = directoryOf(q)
		}
		if is := q.candidate(q.key, CertMissing); !q.matches && is != nil {
			one.Renewed = pki.Fingerprint(is.Cert)
		}
		f.Pairs = append(f.Pairs, one)
	}
	f.Renewed, f.Due = f.Pairs[0].Renewed, f.Pairs[0].Due
	return f
}

// SetID is a digest over what sendmail reads at start: certificate, key, CA file, DH parameters and, where they exist,
// the CRL and a second pair.
func SetID(d certdir.Dir) string {
	h := sha256.New()
	for _, sum := range [][32]byte{d.Cert.Digest, d.Key.Digest, d.CA.Digest, d.DH.Digest} {
		h.Write(sum[:])
	}
	if d.CRL.Node.Exists {
		h.Write(d.CRL.Digest[:])
	}
	for _, p := range certdir.Pairs() {
		if e := d.Pair(p); p != certdir.Host && p.Server() && e.Exists() {
			h.Write([]byte(p.Name)) // separates the files in the digest
			h.Write(e.Cert.Digest[:])
			h.Write(e.Key.Digest[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Lying are the FileIDs of the files in the certs directory that may be ours.
func Lying(d certdir.Dir) []string {
	var out []string
	for _, f := range certdir.Files() {
		if _, sum := d.File(f.Name); sum != [32]byte{} {
			out = append(out, FileID(sum))
		}
	}
	return out
}

// FileID is a file's SHA-256 in hex; the state names files by it.
func FileID(sum [32]byte) string { return hex.EncodeToString(sum[:]) }
