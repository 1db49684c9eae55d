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
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// ownTrustFile contains the generations of our CA where cacert.pem is left alone and lacks them, see ownTrust.
const ownTrustFile = certdir.TrustDir + "/mailcertd-ca.pem"

func digest(data []byte) [32]byte { return sha256.Sum256(data) }

// trust decides about cacert.pem, ownTrustFile, the files in trust/ and the hash links. set is the outcome of the
// pairs, because an interim or a new certificate changes what cacert.pem must contain.
func trust(a *assessment, set outcome) (out outcome) {
	e := a.obs.Certs.CA
	if e.Node.Err != nil || e.Node.Exists && !e.Node.IsRegular {
		return outcome{finding: blocked(e.Node)}
	}
	final := e.File.Certs
	if e.File.Err != nil && !errors.Is(e.File.Err, pki.ErrUnsupported) {
		final = nil // but where OpenSSL can read what Go cannot (ErrUnsupported), the rest of the file counts
	}
	if e.File.Passed > 0 {
		out.report(Problem{Reason: TrustPassed, Severity: Warning, Path: e.Node.Path,
			Text: fmt.Sprintf(
				"contains %s that mailcertd cannot read (%v): the file is kept as it is, without a hash link for "+
					"what cannot be read", counted(e.File.Passed, "certificate"), e.File.Err)})
	}
	out = out.and(bundleFile(a, set))
	if f := out.change.file(certdir.CAName); f != nil {
		final = nil
		if f.Source == FromData {
			final = pki.ReadCertFile(f.Data).Certs
		}
	}
	out = out.and(ownTrust(a, out.change, final))
	if set.change.bridges(certdir.Host) && out.change.file(certdir.CAName) != nil {
		return out // the interim certificate does not exist yet, so its hash is not known: the next look makes the link
	}
	want := linked(a, final)
	if f := out.change.file(ownTrustFile); f != nil {
		want[ownTrustFile] = pki.ReadCertFile(f.Data).Certs
	}
	out = out.and(bundles(a, final, set.change))
	for _, f := range out.change.Files {
		if inTrust(f.Name) {
			want[f.Name] = pki.ReadCertFile(f.Data).Certs
		}
	}
	for _, name := range out.change.Remove {
		delete(want, name)
	}
	if out.rests {
		return out // cacert.pem is half-written: by its present content, a correct link would look outdated
	}
	if unread, is := trustUnread(a, out.finding); is {
		return out.and(outcome{finding: unread}) // a link to a file that could not be read would look outdated too
	}
	out.change.Links = certdir.Links(a.obs.Certs.Links, want)
	out.finding = out.finding.and(reportEnds(a))
	for _, l := range out.change.Links {
		if toldAsCA(a, out.change, l) {
			continue
		}
		r, text := LinkWrong, "is "+l.Why
		if l.Target != "" && !linkExists(a.obs.Certs.Links, l.Name) {
			r, text = LinkMissing, "is missing, and sendmail finds a CA in this directory only by its hash link"
		}
		out.report(Problem{Reason: r, Severity: Warning, Path: a.obs.Certs.Path + "/" + l.Name, Text: text,
			Repairable: true})
	}
	return out
}

// linked returns the certificates that get hash links, by their file: final, which cacert.pem will contain, and those
// of the present files in trust/.
func linked(a *assessment, final []*x509.Certificate) map[string][]*x509.Certificate {
	want := map[string][]*x509.Certificate{}
	if len(final) > 0 {
		want[certdir.CAName] = caCerts(final)
	}
	for _, t := range a.obs.Certs.Trust {
		if (t.File.Err == nil || errors.Is(t.File.Err, pki.ErrUnsupported)) && len(t.File.Certs) > 0 {
			want[entryName(t)] = t.File.Certs
		}
	}
	return want
}

// trustUnread reports whether trust/ or a file in it could not be read. It returns the problem unless sofar has it.
func trustUnread(a *assessment, sofar finding) (found finding, is bool) {
	nodes := []durable.Node{a.obs.Certs.TrustNode}
	for _, t := range a.obs.Certs.Trust {
		nodes = append(nodes, t.Node)
	}
	for _, n := range nodes {
		if !n.Unread() {
			continue
		}
		if !slices.ContainsFunc(sofar.problems, func(pr Problem) bool { return pr.Path == n.Path }) {
			found.report(Problem{Reason: Unreadable, Severity: Error, Path: n.Path,
				Text: "cannot be read, so no hash link is changed: " + n.Err.Error(), Hint: readHint(n.Err)})
		}
		return found, true
	}
	return found, false
}

// reportEnds reports names of hash links that are neither links nor files. OpenSSL waits when it opens a FIFO or a
// device; after a directory or a socket, releases before 3.0.22 do not try the higher numbers of that hash.
func reportEnds(a *assessment) (found finding) {
	for _, l := range a.obs.Certs.Links {
		if l.Unknown() {
			found.report(Problem{Reason: Unreadable, Severity: Warning, Path: l.Node.Path,
				Text: "cannot be read, so no link with this hash is changed: " + l.Node.Err.Error()})
		}
		switch n := l.Node; {
		case n.Err != nil || n.Kind == durable.Link || !n.Exists || n.IsRegular:
		case n.Waits:
			found.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path,
				Text: "is a FIFO or a device with the name of a CA's hash link: sendmail opens it when it looks for " +
					"a peer's CA, and may wait for ever",
				Hint: waitsHint})
		default:
			found.report(Problem{Reason: InTheWay, Severity: Warning, Path: n.Path,
				Text: "has the name of a hash link, and OpenSSL's search may end there: it may not find CAs whose " +
					"link has a higher number",
				Hint: "move it away; mailcertd does not delete it"})
		}
	}
	sev := Warning // without a CRLFile, OpenSSL does not look for CRLs
	if a.cfg.CRL.Install {
		sev = Error
	}
	for _, path := range a.obs.Certs.CRLWaits {
		found.report(Problem{Reason: InTheWay, Severity: sev, Path: path,
			Text: "points to a FIFO or a device and has the name of a CRL's hash link: sendmail may wait for ever " +
				"when it looks for revoked certificates",
			Hint: waitsHint})
	}
	return found
}

const waitsHint = "move it out of this directory; mailcertd does not delete it"

func linkExists(have []certdir.Link, name string) bool {
	return slices.ContainsFunc(have, func(l certdir.Link) bool { return l.Name == name })
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// caCerts returns the certificates that can be the issuer of another, and self-signed ones. OpenSSL looks up issuers by
// the hash links, so a link to any other leaf would be of no use.
func caCerts(certs []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range certs {
		if c.IsCA || bytes.Equal(c.RawIssuer, c.RawSubject) {
			out = append(out, c)
		}
	}
	return out
}

// bundleFile decides about cacert.pem; its change is empty where the present file stays.
func bundleFile(a *assessment, set outcome) (out outcome) {
	e := a.obs.Certs.CA
	loads := e.Node.Exists && e.File.Err == nil && len(e.File.Certs) > 0
	unjudged := e.Node.Exists && errors.Is(e.File.Err, pki.ErrUnsupported)
	p := a.host
	kept, delivering, interim := p.keptForeign() || p.held(), p.delivering(), set.change.bridges(certdir.Host)
	want := a.issuer.trustSet(a.at)
	repairable := !delivering && (len(want) > 0 || interim || p.leaf != nil || a.doing(set.finding, Obtain))
	reason := Reason("")
	switch {
	case !e.Node.Exists:
		reason = CAFileMissing
		out.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Repairable: repairable,
			Text: missing(e.Node)})
	case !loads && !unjudged:
		reason = CAFileUnusable
		out.report(convertible(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Repairable: repairable,
			Text: e.File.Err.Error()}, e.File.Err, false))
	}
	if e.Node.Exists && (reason != "" || !kept && !unjudged && len(want) > 0 && !containsAll(a, want)) {
		if being, now := bundleWritten(a); now {
			return out.and(outcome{finding: being, rests: true})
		}
	}
	if delivering {
		return out // the person who copies the pair may copy cacert.pem too
	}
	put := func(f File) outcome {
		f.Name, f.Mode, f.Reason = certdir.CAName, publicMode, reason
		return out.and(outcome{change: Change{Files: []File{f}}})
	}
	if interim {
		if reason == "" {
			return out // a file that works stays, so that the CAs of peers stay trusted
		}
		return put(File{Source: FromSelf})
	}
	useless := reason != "" || onlyInterim(a) || onlyEnded(a)
	if chain := hostChain(a, set.change); useless && len(want) == 0 && len(chain) > 0 {
		if reason == "" {
			text := "contains nothing but an interim certificate"
			if !onlyInterim(a) {
				text = "contains nothing but intermediate certificates that have expired"
			}
			reason = CAFileStale
			out.report(Problem{Reason: reason, Severity: Warning, Path: e.Node.Path, Repairable: true, Text: text})
		}
		return put(File{Data: encodeAll(chain)})
	}
	if reason != "" && len(want) == 0 {
		if p.leaf == nil {
			return out
		}
		// sendmail offers STARTTLS only with a CACertFile that it can load. The issuer's certificate is not known here,
		// so the file gets the leaf itself.
		return put(File{Data: pki.EncodeCertificate(p.leaf.Raw)})
	}
	if kept && reason == "" || unjudged || len(want) == 0 {
		return out
	}
	replaced := set.change.file(p.is.CertFile) != nil
	if !kept && p.owner == Interim && !replaced && reason == "" {
		return out
	}
	if e.Node.Kind == durable.Link && loads {
		return out // a person made cacert.pem a link to a bundle; it stays, see ownTrust
	}
	extra, changed := mergeBundle(a, want, replaced)
	if reason == "" && !changed {
		return out
	}
	if reason == "" {
		reason = CAFileWrong
		text := "lacks the certificate of the CA that issues host.cert"
		if containsAll(a, want) {
			reason, text = CAFileStale, "contains a CA generation that has expired"
		} else if g := a.issuer.current(); g != nil && contains(e.File.Certs, g) {
			text = "lacks a generation of the CA that this host should trust"
		}
		out.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Repairable: true, Text: text})
	}
	return put(File{Data: encodeAll(append(want, extra...))})
}

// mergeBundle reports whether cacert.pem must change, and returns the CAs that stay in it beside want: those that a
// person added, and the issuers of our leaves that are not replaced, even if the CA directory does not have them any
// more. While a generation cannot be read nothing is removed, because it may be the one that looks unknown. A file
// without any CA of ours is replaced completely, after a backup.
func mergeBundle(a *assessment, want []*x509.Certificate, replaced bool) (extra []*x509.Certificate, changed bool) {
	have := a.obs.Certs.CA.File.Certs
	stays := a.host.owner == Ours && !replaced
	var anyOurs bool
	for _, h := range have {
		switch {
		case contains(want, h):
			anyOurs = true
		case a.issuer.partial(), stays && pki.IssuedBy(a.host.leaf, h), issuedOther(a, h):
			anyOurs, extra = true, append(extra, h)
		case bytes.Equal(h.RawSubject, want[0].RawSubject) || contains(a.issuer.generations(), h):
			anyOurs, changed = true, true // a generation of ours that has ended is left out
		default:
			extra = append(extra, h)
		}
	}
	if !anyOurs {
		return nil, true
	}
	return extra, changed || !containsAll(a, want)
}

// issuedOther reports whether issuer issued the leaf of another pair of ours than the host's own.
func issuedOther(a *assessment, issuer *x509.Certificate) bool {
	return slices.ContainsFunc(a.pairs[1:], func(p *pair) bool {
		return p.owner == Ours && pki.IssuedBy(p.leaf, issuer)
	})
}

func containsAll(a *assessment, want []*x509.Certificate) bool {
	for _, w := range want {
		if !contains(a.obs.Certs.CA.File.Certs, w) {
			return false
		}
	}
	return true
}

func contains(certs []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(certs, c.Equal)
}

func encodeAll(certs []*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, pki.EncodeCertificate(c.Raw)...)
	}
	return b
}

// ownTrust puts our generations into ownTrustFile where cacert.pem lacks them and stays: because it is a person's link,
// because a part of it cannot be read, or because it belongs to a bought pair beside which we have another pair.
func ownTrust(a *assessment, c Change, final []*x509.Certificate) (out outcome) {
	e := a.obs.Certs.CA
	unjudged := e.Node.Exists && errors.Is(e.File.Err, pki.ErrUnsupported)
	// beside: the host's own pair is bought, and another pair is from our CA, which peers and this host must trust.
	beside := a.host.keptForeign() &&
		slices.ContainsFunc(a.pairs[1:], func(p *pair) bool { return p.wanted && !p.keptForeign() })
	alone := e.Node.Kind == durable.Link || unjudged
	if !alone && !beside || c.file(certdir.CAName) != nil || a.host.keptForeign() && !beside ||
		len(final) == 0 && !unjudged {
		return out
	}
	want := a.issuer.trustSet(a.at)
	if len(want) == 0 || !slices.ContainsFunc(want, func(w *x509.Certificate) bool { return !contains(final, w) }) {
		return out
	}
	data := encodeAll(want)
	for _, t := range a.obs.Certs.Trust {
		if entryName(t) == ownTrustFile && t.Digest == digest(data) {
			return out
		}
	}
	text := "cacert.pem is a link to " + e.Node.Target + ", which does not contain our CA: our CA gets a separate file"
	if beside {
		text = "cacert.pem belongs to the bought certificate and lacks our CA, which has issued another pair of this " +
			"host: it gets a file of its own"
	} else if e.Node.Kind != durable.Link {
		text = "mailcertd cannot read a part of cacert.pem, which does not contain our CA: our CA gets a separate file"
	}
	out.report(Problem{Reason: TrustMissing, Severity: Warning, Path: a.obs.Certs.Path + "/" + ownTrustFile,
		Repairable: true, Text: text})
	out.change.Files = []File{{Name: ownTrustFile, Mode: publicMode, Data: data, Reason: TrustMissing}}
	return out
}
