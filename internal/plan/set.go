package plan

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// pairSettles is how long `run` waits for somebody who copies a key and a
// certificate one after the other.
const pairSettles = 10 * time.Minute

// The modes of the files, as the base system's stanza sets them.
const (
	keyMode    = 0o600
	publicMode = 0o644
	dirMode    = 0o755
	secretMode = 0o700
)

// set decides about everything in the certs directory that changes together:
// key, certificate, cacert.pem, hash links, dh.param.
func (a *assessment) set(p *Plan) {
	if a.obs.Certs.Err != nil || a.certsBlocked() {
		return // reported by directories
	}
	c := &Change{}
	switch n, bad := a.unreadable(); {
	case bad:
		a.reportBlocked(p, n)
	case a.held():
		p.report(Problem{Reason: Held, Severity: Notice, Path: certPath(a), Text: "a restored certificate: kept until its renewal"})
	case a.keptForeign():
		p.State.Mismatch = state.Seen{}
		a.reportForeign(p)
	default:
		a.pair(p, c)
	}
	a.strip(p, c)
	a.trust(p, c)
	a.parameters(p, c)
	a.revocation(p, c)
	if p.has(Obtain) { // everything is installed together when the answer is there
		return
	}
	core, extra := c.split()
	a.emit(p, core)
	if !p.has(Install) { // the links of a set that is being installed are judged by the next look
		a.emit(p, extra)
	}
}

// split parts what sendmail needs to offer STARTTLS from what it can do without: the files in trust/ with their links,
// and the CRL. A failure of the second must not hold up the first.
func (c *Change) split() (core, extra *Change) {
	d, e := *c, Change{Remove: c.Remove, Drop: c.Drop, Extra: true}
	d.Remove, d.Drop, d.Files, d.Links, d.Archive = nil, nil, nil, nil, nil
	for _, f := range c.Archive {
		if strings.HasPrefix(f.Name, certdir.TrustDir+"/") {
			e.Archive = append(e.Archive, f)
		} else {
			d.Archive = append(d.Archive, f)
		}
	}
	for _, f := range c.Files {
		if strings.HasPrefix(f.Name, certdir.TrustDir+"/") || f.Name == certdir.CRLName {
			e.Files = append(e.Files, f)
		} else {
			d.Files = append(d.Files, f)
		}
	}
	for _, l := range c.Links {
		if l.Target == "" || l.Target == certdir.CAName || l.Target == "./"+certdir.CAName {
			d.Links = append(d.Links, l)
		} else {
			e.Links = append(e.Links, l)
		}
	}
	return &d, &e
}

// pair puts into c what host.key and host.cert need, or asks for it.
func (a *assessment) pair(p *Plan, c *Change) {
	var first *need
	newKey := false
	for i := range needs {
		n := &needs[i]
		if !n.applies(a) {
			continue
		}
		if first == nil {
			first = n
		}
		newKey = newKey || n.key
		p.report(Problem{Reason: n.reason, Severity: n.severity, Path: n.path(a), Text: n.text(a), Mended: true})
	}
	staged := a.obs.Staged.Public
	if first == nil {
		if !a.remote() { // what was issued last serves
			delete(p.State.Failures, ObtainFailure)
		}
		a.finishStaged(p, c, staged)
		return
	}
	if a.delivering() {
		a.await(p)
		return
	}
	switch {
	case first.broken && a.pairWritten(p):
		a.unmend(p)
		return
	case !a.maySign(), // the clock's own problem says why
		first.broken && a.waitsForPair(p),
		a.name == "" && !first.broken: // as the name's does
		a.unmend(p)
		return
	}
	if newKey && a.stagedUnread(p) {
		a.unmend(p)
		return
	}
	pub := a.key
	if newKey {
		pub = staged
	}
	if is := a.candidate(pub, first.reason); is != nil {
		a.installLeaf(p, c, is, newKey, first.reason)
		return
	}
	if a.remote() {
		a.request(p, c, first, newKey)
		return
	}
	if !a.obtainable(p) {
		if first.broken || a.owner == Interim && a.ending() {
			a.interim(p, c, newKey, first.reason)
		} else {
			a.unmend(p)
		}
		return
	}
	if newKey && staged == nil {
		t := a.newKeyType()
		p.do(Action{Kind: StageKey, Reason: first.reason, KeyType: t, Text: fmt.Sprintf("make a new %s key", t)})
	}
	p.do(Action{Kind: Obtain, Reason: first.reason, Path: certPath(a),
		Text:    fmt.Sprintf("issue a certificate for %s (%s: %s)", strings.Join(a.names, ", "), baseName(first.path(a)), first.text(a)),
		Request: &Request{Staged: newKey, Name: a.name, AltNames: a.cfg.Host.AltNames, Days: a.cfg.Validity.Days}})
}

// unmend takes back the promise that this plan mends what needs report.
func (a *assessment) unmend(p *Plan) {
	for i := range p.Problems {
		if slices.ContainsFunc(needs, func(n need) bool { return n.reason == p.Problems[i].Reason }) {
			p.Problems[i].Mended = false
		}
	}
}

// ending says that the installed certificate is due, over or not for this name.
func (a *assessment) ending() bool {
	return a.isDue(a.leaf) || a.now.Before(a.leaf.NotBefore) || !a.covers(a.leaf)
}

// waitsForPair says that a foreign certificate or key lies beside something
// that it does not belong to, and that somebody may be copying right now.
func (a *assessment) waitsForPair(p *Plan) bool {
	foreignCert := a.leaf != nil && a.owner == Foreign
	foreignKey := a.key != nil && !a.keyIsOurs()
	if a.matches || !foreignCert && !foreignKey || !a.bothHalves() {
		p.State.Mismatch = state.Seen{}
		return false
	}
	until := a.unmatchedSince(p).Add(pairSettles)
	if a.wish.Once || !a.now.Before(until) {
		return false
	}
	p.lookAt(until, "key and certificate still do not match")
	return true
}

// bothHalves: a pair is being completed only when something of it is there.
func (a *assessment) bothHalves() bool { return a.leaf != nil || a.key != nil }

// candidate is a certificate in newcerts that serves: for this key and these
// names, valid, not revoked, and worth installing for that reason.
func (a *assessment) candidate(pub crypto.PublicKey, why Reason) *ca.Issued {
	if pub == nil || a.name == "" {
		return nil
	}
	issued := a.arrived()
	for i := range issued {
		is := &issued[i]
		c := is.Cert
		if !pki.SamePublicKey(c.PublicKey, pub) || !pki.HasSAN(c) || !a.covers(c) || !bothPurposes(c) {
			continue
		}
		if a.tooEarly(c) || a.now.After(c.NotAfter) || !a.living(c) || LeafID(c) == LeafID(a.leaf) {
			continue
		}
		_, installedBefore := a.obs.State.Ours[FileID(digest(pki.EncodeCertificate(c.Raw)))]
		switch why {
		case KeyMissing, KeyUnusable, KeyWeak, CertMissing, CertUnusable, CertWeak, Mismatch:
			// what lay there before is as good as new
		case Asked, AskedKey, AskedForce:
			if installedBefore || a.owner.mine() && a.issuedEarlier(c, a.leaf) || a.isDue(c) {
				continue
			}
		case LeafRevoked:
			if a.issuedEarlier(c, a.leaf) || a.isDue(c) || a.isListed(c) {
				continue
			}
		default:
			if a.isDue(c) {
				continue
			}
		}
		return is
	}
	return nil
}

// issuedEarlier says that c was issued before leaf: by their rows in the CA's database where both have one. Their
// beginnings say less: none lies before the CA's own.
func (a *assessment) issuedEarlier(c, leaf *x509.Certificate) bool {
	line := func(x *x509.Certificate) (int, bool) {
		for _, is := range a.obs.CA.Issued {
			if is.Row != nil && bytes.Equal(is.Cert.Raw, x.Raw) {
				return is.Row.Line, true
			}
		}
		return 0, false
	}
	if n, ok := line(c); ok {
		if m, ok := line(leaf); ok {
			return n < m
		}
	}
	return c.NotBefore.Before(leaf.NotBefore)
}

// living says that c was issued by a generation of the CA that is still valid.
func (a *assessment) living(c *x509.Certificate) bool {
	for _, g := range a.generations() {
		if issuedUnder(c, g) {
			return a.now.Before(g.NotAfter)
		}
	}
	return false
}

func (a *assessment) installLeaf(p *Plan, c *Change, is *ca.Issued, staged bool, why Reason) {
	if staged {
		c.StagedKey = true
		c.Files = append(c.Files, File{Name: certdir.KeyName, Mode: keyMode, Source: FromStaging, Reason: why})
	}
	c.Files = append(c.Files, File{Name: certdir.CertName, Mode: publicMode, Data: pki.EncodeCertificate(is.Cert.Raw), Reason: why})
}

// finishStaged deals with a staged key that no present need explains: with a
// certificate of its own it is a renewal that a crash cut short, and is
// completed; without one it is deleted.
func (a *assessment) finishStaged(p *Plan, c *Change, staged crypto.PublicKey) {
	if !slices.Contains(a.obs.Pending.Staged, certdir.KeyName) || a.stagedUnread(p) || a.requestOut(p, staged) {
		return
	}
	if staged != nil && a.owner.mine() && a.maySign() {
		if is := a.candidate(staged, AskedKey); is != nil {
			p.report(Problem{Reason: Unfinished, Severity: Warning, Path: keyPath(a), Mended: true,
				Text: "a renewal with a new key was interrupted after its certificate had been issued"})
			a.installLeaf(p, c, is, true, Unfinished)
			return
		}
	}
	p.do(Action{Kind: Unstage, Reason: Unfinished, Path: certdir.KeyName, Text: "delete a staged key that is not needed"})
}

// stagedUnread says that there is a staged key and that it could not be read: it
// may be the only copy of a key that a certificate was issued for, so that it is
// neither replaced nor deleted.
func (a *assessment) stagedUnread(p *Plan) bool {
	if a.obs.StagedErr == nil {
		return false
	}
	p.report(Problem{Reason: Unreadable, Severity: Error, Path: a.obs.Certs.Path + "/" + certdir.StagingDir + "/" + certdir.KeyName,
		Text: "the staged key cannot be read, and is left alone: " + a.obs.StagedErr.Error(), Hint: "look at the disk; remove the file if it is lost"})
	return true
}

// interim bridges with a self-signed pair, where there is nothing to serve.
func (a *assessment) interim(p *Plan, c *Change, newKey bool, why Reason) {
	if newKey {
		if a.obs.Staged.Public == nil {
			t := a.newKeyType()
			p.do(Action{Kind: StageKey, Reason: why, KeyType: t, Text: fmt.Sprintf("make a new %s key", t)})
		}
		c.StagedKey = true
		c.Files = append(c.Files, File{Name: certdir.KeyName, Mode: keyMode, Source: FromStaging, Reason: why})
	}
	name := a.name
	if name == "" {
		name = "amnesiac" // what rc.d/sendmail calls a host without a name
	}
	c.Interim = &Request{Name: name, AltNames: a.cfg.Host.AltNames, Days: a.cfg.Validity.Days}
	c.Files = append(c.Files, File{Name: certdir.CertName, Mode: publicMode, Source: FromSelf, Reason: why})
	p.report(Problem{Reason: NoIssuer, Severity: Error, Path: certPath(a),
		Text: "no certificate can be issued now: a self-signed stop-gap is installed",
		Hint: "see the other problems; peers log verify=FAIL until then"})
}

// newKeyType: the type of an existing key stays unless the configuration names one.
func (a *assessment) newKeyType() pki.KeyType {
	if !a.cfg.Key.TypeSet && a.key != nil && !weak(a.key) {
		if t, err := pki.ParseKeyType(string(pki.TypeOf(a.key))); err == nil {
			return t
		}
	}
	return a.cfg.Key.Type
}

// strip takes certificates out of our own host.key. A foreign key file stays
// byte for byte.
func (a *assessment) strip(p *Plan, c *Change) {
	k := a.obs.Certs.Key
	if k.Key.Certs == 0 || !a.keyIsOurs() || k.Node.Kind != durable.File || c.file(certdir.KeyName) != nil {
		return
	}
	p.report(Problem{Reason: KeyHasCert, Severity: Warning, Path: k.Node.Path, Mended: true,
		Text: fmt.Sprintf("holds %d certificate(s) beside the key", k.Key.Certs)})
	c.Files = append(c.Files, File{Name: certdir.KeyName, Mode: keyMode, Source: FromStripped, Reason: KeyHasCert})
}

func (c *Change) file(name string) *File {
	for i := range c.Files {
		if c.Files[i].Name == name {
			return &c.Files[i]
		}
	}
	return nil
}

// emit turns a change into an action, with the copies that must be made first.
func (a *assessment) emit(p *Plan, c *Change) {
	if len(c.Files) == 0 && len(c.Links) == 0 && len(c.Remove)+len(c.Drop) == 0 {
		return
	}
	reason, names := Reason(""), []string{}
	for _, f := range c.Files {
		if reason == "" {
			reason = f.Reason
		}
		if !strings.HasPrefix(f.Name, certdir.TrustDir+"/") {
			c.Pickup = true // hash links and what they lead to are read at each verification
		}
		if f.Reason != TrustAdded {
			names = append(names, f.Name)
		}
		a.archive(c, f)
	}
	for _, name := range c.Drop {
		if reason == "" {
			reason = CRLStale
		}
		c.Pickup = true
		names = append(names, "no "+name)
	}
	for _, l := range c.Links {
		if reason == "" && len(c.Remove) == 0 {
			reason = LinkWrong
			if l.Target != "" {
				reason = LinkMissing
			}
		}
		verb := l.Name
		if l.Target == "" {
			verb = "no " + l.Name
		}
		if !a.toldAsCA(c, l) {
			names = append(names, verb)
		}
		if l.Foreign {
			c.Archive = append(c.Archive, Archived{Name: l.Name, Foreign: true})
		}
	}
	if reason == "" {
		reason = TrustRemoved
	}
	names = append(names, countCAs(c)...)
	p.do(Action{Kind: Install, Reason: reason, Path: a.obs.Certs.Path, Text: "install " + strings.Join(names, ", "), Change: c, Extra: c.Extra})
}

// archive notes the copy to be made before f replaces what lies there.
func (a *assessment) archive(c *Change, f File) {
	switch f.Name {
	case certdir.KeyName:
		n := a.obs.Certs.Key.Node
		if f.Source == FromStripped || !worthKeeping(n) {
			return // the key itself does not change
		}
		c.Archive = append(c.Archive, Archived{Name: f.Name, Foreign: !a.keyIsOurs() || n.Kind == durable.Link, Secret: true})
	case certdir.CertName:
		n := a.obs.Certs.Cert.Node
		if worthKeeping(n) {
			c.Archive = append(c.Archive, Archived{Name: f.Name, Foreign: !a.owner.mine() || n.Kind == durable.Link})
		}
	case certdir.CAName:
		n := a.obs.Certs.CA.Node
		if worthKeeping(n) {
			c.Archive = append(c.Archive, Archived{Name: f.Name, Foreign: !a.bundleIsOurs() || n.Kind == durable.Link})
		}
	case certdir.CRLName:
		n := a.obs.Certs.CRL.Node
		if worthKeeping(n) && !a.fileIsOurs(a.obs.Certs.CRL.Digest) {
			c.Archive = append(c.Archive, Archived{Name: f.Name, Foreign: true})
		}
	case certdir.DHName:
		n := a.obs.Certs.DH.Node
		if worthKeeping(n) && (n.Kind == durable.Link || !a.dhIsOurs()) {
			c.Archive = append(c.Archive, Archived{Name: f.Name, Foreign: true})
		}
	}
}

// worthKeeping: an empty file holds nothing that could be lost.
func worthKeeping(n durable.Node) bool {
	return n.Kind == durable.Link || n.Exists && n.Size > 0
}

// bundleIsOurs says that cacert.pem holds nothing but our own generations.
func (a *assessment) bundleIsOurs() bool {
	e := a.obs.Certs.CA
	if a.fileIsOurs(e.Digest) {
		return true
	}
	if e.File.Err != nil || len(e.File.Certs) == 0 {
		return false
	}
	for _, c := range e.File.Certs {
		ours := slices.ContainsFunc(a.generations(), func(g *x509.Certificate) bool { return bytes.Equal(g.Raw, c.Raw) })
		if !ours && !(a.owner == Interim && a.leaf != nil && bytes.Equal(a.leaf.Raw, c.Raw)) {
			return false
		}
	}
	return true
}
