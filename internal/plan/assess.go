package plan

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// assessment holds the facts that every section uses, worked out once a look.
type assessment struct {
	cfg  config.Config
	obs  Observed
	wish Wish

	host    *pair         // host.key and host.cert
	pairs   []*pair       // all of certdir.Pairs
	issuer  *pairIssuer   // of the host's own pair
	issuers []*pairIssuer // all of this host's, see issuersOf
	verdict mta.Verdict   // what sendmail's rules say about the installed files

	judgement
	hostNames
}

// pair is a private key and its certificate as they are installed, and what is known about them.
type pair struct {
	*assessment
	installed
	is        certdir.Pair
	issuer    *pairIssuer
	wanted    bool        // the configuration asks for it
	staged    pki.KeyFile // a new key that lies ready; Public nil when there is none
	stagedErr error       // why the staged key could not be read

	sent     *x509.Certificate // what the CA host or the ACME CA sent for it last; nil: nothing
	owner    Owner
	revoked  *revoked
	asked    bool // a person asked for another certificate in place of the installed one
	askedKey bool // a person asked for another key in place of the installed one
}

func assess(cfg config.Config, obs Observed, wish Wish, now time.Time) *assessment {
	a := &assessment{cfg: cfg, obs: obs, wish: wish, judgement: judgement{now: now}}
	a.issuers = issuersOf(cfg, obs)
	a.issuer = a.issuers[0]
	a.host = newPair(a, certdir.Host)
	a.verdict = mta.Judge(obs.CF, Files(obs.CF, obs.Certs, obs.Accept))
	a.judgement = judgeClock(a)
	a.hostNames = namesOf(cfg, obs.Host)
	for _, by := range a.issuers {
		by.signs = by.Kind == config.IssuerLocal && canSign(a)
	}
	a.pairs = []*pair{a.host}
	for _, is := range certdir.Pairs()[1:] {
		a.pairs = append(a.pairs, newPair(a, is))
	}
	for _, p := range a.pairs {
		p.revoked = revocationOf(p)
	}
	return a
}

// newPair returns what is known of a pair, except whether it was revoked.
func newPair(a *assessment, is certdir.Pair) *pair {
	staged, by := a.obs.StagedOf(is), a.issuer
	if is == certdir.Client {
		by = a.issuers[len(a.issuers)-1]
	}
	p := &pair{assessment: a, installed: installedOf(*a.obs.Certs.Pair(is)), is: is, issuer: by,
		wanted: slices.Contains(Wanted(a.cfg), is), staged: staged.Key, stagedErr: staged.Err}
	p.sent = sent(p)
	p.owner = ownerOf(p, p.leaf)
	p.asked, p.askedKey = a.wish.replaces(is, p.installed)
	return p
}

// pair returns the facts about one of certdir.Pairs.
func (a *assessment) pair(is certdir.Pair) *pair {
	return a.pairs[slices.IndexFunc(a.pairs, func(p *pair) bool { return p.is == is })]
}

// Files turns a certs directory into the input of mta.Judge. Where cf names another CACertFile beside host.cert, that
// file takes the place of cacert.pem.
func Files(cf mta.CF, d certdir.Dir, acc Acceptance) mta.Files {
	f := mta.Files{Root: acc.Root, OwnersOK: acc.OwnersOK, Libssl: acc.Libssl, Now: acc.Now}
	above := append([]durable.Node{d.Node}, d.Parents...)
	view := func(name string, n durable.Node) mta.View {
		return mta.View{Path: filepath.Join(d.Path, name), Node: n, Parents: above}
	}
	f.Dir = mta.View{Path: d.Path, Node: d.Node, Parents: d.Parents}
	f.Cert.View, f.Cert.File = view(certdir.Host.CertFile, d.Cert.Node), d.Cert.File
	f.CACert.View, f.CACert.File = view(certdir.CAName, d.CA.Node), d.CA.File
	if cf.CAs.Path != "" && NamesOurs(cf, d) && !leadsTo(cf, cf.CACert, d, certdir.CAName) {
		f.CACert.View, f.CACert.File, f.CAElsewhere = cf.CAs.View, cf.CAs.File, true
	}
	f.Store = slices.Concat(f.CACert.File.Certs, d.Above)
	f.Key.View, f.Key.Key = view(certdir.Host.KeyFile, d.Key.Node), d.Key.Key
	f.Second, f.Client = otherPair(cf.Second, cf, d, view), otherPair(cf.Client, cf, d, view)
	f.DH.View = view(certdir.DHName, d.DH.Node)
	f.DH.Bits, f.DH.Err = judgeDH(d.DH.Node.Data)
	return f
}

// otherPair is the pair that cf names beside the first server pair, with its files from d; nil when cf names none.
func otherPair(named mta.Pair, cf mta.CF, d certdir.Dir, view func(string, durable.Node) mta.View) *mta.Pair {
	if named.Cert.Path == "" && named.Key.Path == "" {
		return nil
	}
	for _, p := range certdir.Pairs() {
		e := d.Pair(p)
		if named.Cert.Path != "" && leadsTo(cf, named.Cert.Path, d, p.CertFile) {
			named.Cert = mta.CertView{View: view(p.CertFile, e.Cert.Node), File: e.Cert.File}
		}
		if named.Key.Path != "" && leadsTo(cf, named.Key.Path, d, p.KeyFile) {
			named.Key = mta.KeyView{View: view(p.KeyFile, e.Key.Node), Key: e.Key.Key}
		}
	}
	return &named
}

func judgeDH(data []byte) (bits int, err error) {
	p, err := dh.Read(data)
	if err != nil {
		return 0, err
	}
	return p.P.BitLen(), nil
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
		one.Renewed, one.Public = one.LeafID, q.issuer.acme()
		if q.leaf != nil && q.owner.mine() {
			one.Due, one.By = q.renewal(q.leaf)
		}
		if m := a.obs.State.ACME[q.is.Name]; q.issuer.acme() && q.leaf != nil && m.Leaf == one.LeafID {
			one.Window = m
		}
		if is := q.candidate(q.key, CertMissing); !q.matches && is != nil {
			one.Renewed = pki.Fingerprint(is.Cert)
		}
		f.Pairs = append(f.Pairs, one)
	}
	f.Renewed, f.Due = f.Pairs[0].Renewed, f.Pairs[0].Due
	return f
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
