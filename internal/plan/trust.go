package plan

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// ownTrustFile holds our CA generations when cacert.pem is somebody else's
// link and is left alone.
const ownTrustFile = certdir.TrustDir + "/mailcertd-ca.pem"

func digest(data []byte) [32]byte { return sha256.Sum256(data) }

// trust decides about cacert.pem, our trust file and the hash links.
func (a *assessment) trust(p *Plan, c *Change) {
	e := a.obs.Certs.CA
	if e.Node.Err != nil || e.Node.Exists && !e.Node.IsRegular {
		a.reportBlocked(p, e.Node)
		return
	}
	final := e.File.Certs
	if e.File.Err != nil && !errors.Is(e.File.Err, pki.ErrUnsupported) {
		final = nil // what OpenSSL loads and we cannot read is still trusted
	}
	if e.File.Passed > 0 {
		p.report(Problem{Reason: TrustPassed, Severity: Warning, Path: e.Node.Path,
			Text: fmt.Sprintf("holds %d certificate(s) that mailcertd cannot read (%v): the file is kept as it is, and they get no hash link", e.File.Passed, e.File.Err)})
	}
	if f := a.bundleFile(p, c); f != nil {
		c.Files = append(c.Files, *f)
		final = nil
		if f.Source == FromData {
			final = pki.ReadCertFile(f.Data).Certs
		}
	}
	want := map[string][]*x509.Certificate{}
	if len(final) > 0 {
		want[certdir.CAName] = authorities(final)
	}
	for _, t := range a.obs.Certs.Trust {
		if (t.File.Err == nil || errors.Is(t.File.Err, pki.ErrUnsupported)) && len(t.File.Certs) > 0 {
			want[certdir.TrustDir+"/"+baseName(t.Node.Path)] = t.File.Certs
		}
	}
	if f := a.ownTrust(p, c, final); f != nil {
		c.Files = append(c.Files, *f)
		want[ownTrustFile] = pki.ReadCertFile(f.Data).Certs
	}
	if c.Interim != nil && c.file(certdir.CAName) != nil {
		return // links to a certificate that does not exist yet: the next look makes them
	}
	a.bundles(p, c, final, want)
	if c.bundleRests || a.trustUnread(p) {
		return // a link to what could not be read, or is half-written, is not known to be stale
	}
	c.Links = certdir.Links(a.obs.Certs.Links, want)
	a.reportEnds(p)
	for _, l := range c.Links {
		if a.toldAsCA(c, l) {
			continue
		}
		r, text := LinkWrong, "is "+l.Why
		if l.Target != "" && !linkExists(a.obs.Certs.Links, l.Name) {
			r, text = LinkMissing, "is missing: sendmail finds a CA in this directory by its hash link only"
		}
		p.report(Problem{Reason: r, Severity: Warning, Path: a.obs.Certs.Path + "/" + l.Name, Text: text, Mended: true})
	}
}

// trustUnread says that trust/, or a file in it, could not be looked at.
func (a *assessment) trustUnread(p *Plan) bool {
	nodes := []durable.Node{a.obs.Certs.TrustNode}
	for _, t := range a.obs.Certs.Trust {
		nodes = append(nodes, t.Node)
	}
	for _, n := range nodes {
		if !n.Unread() {
			continue
		}
		if !slices.ContainsFunc(p.Problems, func(pr Problem) bool { return pr.Path == n.Path }) {
			p.report(Problem{Reason: Unreadable, Severity: Error, Path: n.Path,
				Text: "cannot be read, so no hash link is changed: " + n.Err.Error(), Hint: "run as root, or correct its mode and owner"})
		}
		return true
	}
	return false
}

// reportEnds tells of directories and special files under names of hash links:
// releases of OpenSSL before 3.0.22 look no further for that hash.
func (a *assessment) reportEnds(p *Plan) {
	for _, l := range a.obs.Certs.Links {
		if n := l.Node; n.Err == nil && n.Kind != durable.Link && n.Exists && !n.IsRegular {
			p.report(Problem{Reason: InTheWay, Severity: Warning, Path: n.Path,
				Text: "stands where OpenSSL looks for a CA, and its search may end there: CAs with a link of a higher number are not found",
				Hint: "move it away; mailcertd does not delete it"})
		}
	}
}

func linkExists(have []certdir.Link, name string) bool {
	return slices.ContainsFunc(have, func(l certdir.Link) bool { return l.Name == name })
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// authorities leaves out what can be nobody's issuer, unless it signs itself:
// a link to a leaf serves nobody.
func authorities(certs []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range certs {
		if c.IsCA || bytes.Equal(c.RawIssuer, c.RawSubject) {
			out = append(out, c)
		}
	}
	return out
}

// bundleFile is the cacert.pem to be installed, nil when the one there stays.
func (a *assessment) bundleFile(p *Plan, c *Change) *File {
	e := a.obs.Certs.CA
	loads := e.Node.Exists && e.File.Err == nil && len(e.File.Certs) > 0
	unjudged := e.Node.Exists && errors.Is(e.File.Err, pki.ErrUnsupported)
	kept := a.keptForeign() || a.held()
	want := a.trustSet()
	delivering := a.delivering()
	mended := !delivering && (len(want) > 0 || c.Interim != nil || a.leaf != nil || p.has(Obtain))
	reason := Reason("")
	switch {
	case !e.Node.Exists:
		reason = CAFileMissing
		p.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Mended: mended, Text: missing(e.Node)})
	case !loads && !unjudged:
		reason = CAFileUnusable
		p.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Mended: mended, Text: e.File.Err.Error()})
	}
	if e.Node.Exists && (reason != "" || !kept && !unjudged && len(want) > 0 && !a.containsAll(want)) && a.bundleWritten(p) {
		c.bundleRests = true
		return nil
	}
	if delivering {
		return nil // its owner may bring this one too
	}
	if c.Interim != nil {
		if reason == "" {
			return nil // peers' CAs stay trusted
		}
		return &File{Name: certdir.CAName, Mode: publicMode, Source: FromSelf, Reason: reason}
	}
	if reason != "" && len(want) == 0 {
		if a.leaf == nil {
			return nil
		}
		// sendmail needs a loadable CACertFile to offer STARTTLS at all; nothing
		// is known of this certificate's issuer but the certificate itself.
		return &File{Name: certdir.CAName, Mode: publicMode, Data: pki.EncodeCertificate(a.leaf.Raw), Reason: reason}
	}
	if kept && reason == "" || unjudged || len(want) == 0 {
		return nil
	}
	if !kept && a.owner == Interim && c.file(certdir.CertName) == nil {
		if reason == "" {
			return nil
		}
	}
	if e.Node.Kind == durable.Link && loads {
		return nil // somebody's link to a bundle: respected, see ownTrust
	}
	if reason == "" && !a.remote() && a.obs.CA.Partial() {
		return nil // a generation that could not be read is not one that has ended
	}
	extra, changed := a.mergeBundle(want)
	if reason == "" && !changed {
		return nil
	}
	if reason == "" {
		reason = CAFileWrong
		text := "lacks the certificate of the CA that issues host.cert"
		if a.containsAll(want) {
			reason, text = CAFileStale, "holds a CA generation that has ended"
		} else if g := a.currentCA(); g != nil && contains(e.File.Certs, g) {
			text = "lacks a generation of the CA that is to be trusted"
		}
		p.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Mended: true, Text: text})
	}
	return &File{Name: certdir.CAName, Mode: publicMode, Data: encodeAll(append(want, extra...)), Reason: reason}
}

// mergeBundle says whether cacert.pem must change, and which foreign CAs in it
// stay: those that a person put beside ours. A file without anything of ours
// is replaced as a whole (after a copy).
func (a *assessment) mergeBundle(want []*x509.Certificate) (extra []*x509.Certificate, changed bool) {
	have := a.obs.Certs.CA.File.Certs
	var anyOurs bool
	for _, c := range have {
		switch {
		case contains(want, c):
			anyOurs = true
		case bytes.Equal(c.RawSubject, want[0].RawSubject) || contains(a.generations(), c):
			anyOurs, changed = true, true // an ended generation of ours
		default:
			extra = append(extra, c)
		}
	}
	if !anyOurs {
		return nil, true
	}
	return extra, changed || !a.containsAll(want)
}

func (a *assessment) containsAll(want []*x509.Certificate) bool {
	for _, w := range want {
		if !contains(a.obs.Certs.CA.File.Certs, w) {
			return false
		}
	}
	return true
}

func contains(certs []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(certs, func(x *x509.Certificate) bool { return bytes.Equal(x.Raw, c.Raw) })
}

func encodeAll(certs []*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, pki.EncodeCertificate(c.Raw)...)
	}
	return b
}

// ownTrust puts our generations into a file of their own when cacert.pem is left
// alone and lacks them: a link, or a file of which not all can be read.
func (a *assessment) ownTrust(p *Plan, c *Change, final []*x509.Certificate) *File {
	e := a.obs.Certs.CA
	if e.Node.Kind != durable.Link && !errors.Is(e.File.Err, pki.ErrUnsupported) || c.file(certdir.CAName) != nil || a.keptForeign() || len(final) == 0 {
		return nil
	}
	want := a.trustSet()
	if len(want) == 0 || !slices.ContainsFunc(want, func(w *x509.Certificate) bool { return !contains(final, w) }) {
		return nil
	}
	data := encodeAll(want)
	for _, t := range a.obs.Certs.Trust {
		if certdir.TrustDir+"/"+baseName(t.Node.Path) == ownTrustFile && t.Digest == digest(data) {
			return nil
		}
	}
	text := "cacert.pem is a link to " + e.Node.Target + ", which lacks our CA: it gets a file of its own"
	if e.Node.Kind != durable.Link {
		text = "cacert.pem holds what mailcertd cannot read and lacks our CA: it gets a file of its own"
	}
	p.report(Problem{Reason: TrustMissing, Severity: Warning, Path: a.obs.Certs.Path + "/" + ownTrustFile, Mended: true, Text: text})
	return &File{Name: ownTrustFile, Mode: publicMode, Data: data, Reason: TrustMissing}
}

// parameters decides about dh.param.
func (a *assessment) parameters(p *Plan, c *Change) {
	e := a.obs.Certs.DH
	if e.Node.Err != nil || e.Node.Exists && !e.Node.IsRegular {
		a.reportBlocked(p, e.Node)
		return
	}
	group := a.dhGroup()
	have, err := dh.Read(e.Node.Data)
	var reason Reason
	sev, text := Warning, ""
	switch {
	case !e.Node.Exists:
		reason, text = DHMissing, missing(e.Node)
	case err != nil:
		reason, text = DHUnusable, err.Error()
	case a.cfg.DH == keepDH && group == "":
		// whatever loads stays
	case have.Name != "" && group != "" && have.Name != group && e.Node.Kind == durable.File:
		reason, sev, text = DHGroup, Notice, "holds "+have.Name+", configured is "+group
	case have.Name == "" && have.P.BitLen() < 2048:
		p.report(Problem{Reason: DHWeak, Severity: Warning, Path: e.Node.Path,
			Text: "holds parameters of a person's own making below 2048 bits: kept",
			Hint: "remove the file to get an RFC 7919 group"})
	}
	if reason == "" {
		return
	}
	if until, now := a.writtenNow(e.Node); now && reason == DHUnusable {
		p.report(Problem{Reason: reason, Severity: sev, Path: e.Node.Path, Text: text})
		a.leaveAlone(p, until, e.Node)
		return
	}
	if group == "" {
		group = defaultGroup
	}
	params, err := dh.Group(group)
	if err != nil {
		p.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Text: err.Error()})
		return
	}
	p.report(Problem{Reason: reason, Severity: sev, Path: e.Node.Path, Text: text, Mended: true})
	c.Files = append(c.Files, File{Name: certdir.DHName, Mode: publicMode, Data: params.PEM(), Reason: reason})
}

const (
	keepDH       = "keep"
	defaultGroup = "ffdhe3072" // RFC 7919
)

// dhGroup is the group that dh.param should hold, "" for whatever is there. A
// choice made with `mailcertd dhparam` holds until the configuration changes.
func (a *assessment) dhGroup() string {
	if a.wish.Group != "" {
		return a.wish.Group
	}
	if ch := a.obs.State.DH; ch.Group != "" && ch.Config == a.cfg.DH {
		return ch.Group
	}
	if a.cfg.DH == keepDH {
		return ""
	}
	return a.cfg.DH
}

// dhIsOurs: a published group can be had again at any time, so it is nobody's
// own work.
func (a *assessment) dhIsOurs() bool {
	have, err := dh.Read(a.obs.Certs.DH.Node.Data)
	return err == nil && have.Name != ""
}
