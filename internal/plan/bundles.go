package plan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// TrustSource is one entry of `trust:` and what was read there.
type TrustSource struct {
	Name string // as configured: a path, or the word system
	certdir.Bundle
}

const (
	// maxTrust bounds how many CAs get a file of their own. The largest public
	// bundles hold about 150.
	maxTrust = 2000
	// trustSettles is how long a bundle must have been unchanged before the daemon removes a CA because of it:
	// certctl(8) empties /etc/ssl/certs and fills it again, one link at a time.
	trustSettles = 5 * time.Second
)

// TrustFile is the name of a CA's file in trust/, formed from the SHA-256 of its DER.
func TrustFile(c *x509.Certificate) string {
	return certdir.TrustDir + "/ca-" + pki.Fingerprint(c)[:32] + ".pem"
}

// OwnTrust reports whether mailcertd made a file in trust/: its name states the one certificate that it holds. This
// needs no state, so it is right on any host and after any loss of the state.
func OwnTrust(e certdir.CertEntry) bool {
	if e.Node.Kind != durable.File || e.File.Err != nil || len(e.File.Certs) != 1 {
		return false
	}
	c := e.File.Certs[0]
	return entryName(e) == TrustFile(c) && e.Digest == digest(pki.EncodeCertificate(c.Raw))
}

func entryName(e certdir.CertEntry) string {
	return certdir.TrustDir + "/" + baseName(e.Node.Path)
}

// bundles gives every CA of `trust:` and every intermediate of a kept certificate a file in trust/, and removes the
// files that are no longer wanted. final is what cacert.pem will hold. While a source cannot be read in full, nothing
// is removed.
func bundles(a *assessment, final []*x509.Certificate, set Change) (out outcome) {
	cas, sure, told := configured(a)
	out.finding = told
	for _, p := range a.pairs {
		if p.is != certdir.Host && !p.exists() {
			continue
		}
		cas = append(cas, intermediates(p, final)...)
		if !p.whole() {
			sure = false // somebody may be copying the intermediates
		}
	}
	chains := slices.DeleteFunc(chainsIn(a, set), func(c *x509.Certificate) bool { return contains(final, c) })
	cas = append(cas, chains...)
	wanted := map[string]bool{}
	for _, x := range cas {
		wanted[TrustFile(x)] = true
	}
	have := map[string]certdir.CertEntry{}
	var surplus []string
	for _, e := range a.obs.Certs.Trust {
		name := entryName(e)
		have[name] = e
		if !wanted[name] && OwnTrust(e) && !stillServed(a, e) {
			surplus = append(surplus, name)
		}
	}
	if len(wanted) > maxTrust {
		out.report(Problem{Reason: TrustTooMany, Severity: Error, Path: a.cfg.Path,
			Text: fmt.Sprintf("trust: contains %d CAs, but mailcertd makes hash links for at most %d: no file of the "+
				"trust setting is changed", len(wanted), maxTrust),
			Hint: "name a smaller bundle in `trust:`"})
		return out
	}
	var add []File
	for _, x := range cas {
		name := TrustFile(x)
		e, there := have[name]
		switch {
		case !wanted[name]: // two sources name the same CA
			continue
		case there && e.File.Err == nil && contains(e.File.Certs, x): // the file already holds this CA
		case there && (e.Node.Err != nil || e.Node.Exists && !e.Node.IsRegular):
			out.finding = out.finding.and(blocked(e.Node))
		default:
			add = append(add, File{Name: name, Mode: publicMode, Data: pki.EncodeCertificate(x.Raw),
				Reason: TrustAdded, Needed: contains(chains, x)})
		}
		wanted[name] = false
	}
	if !sure {
		surplus = nil
	}
	if len(add)+len(surplus) == 0 {
		return out
	}
	if told, is := trustBlocked(a); is {
		out.finding = out.finding.and(told)
		return out
	}
	for _, f := range add {
		if e, there := have[f.Name]; there && worthKeeping(e.Node) {
			out.change.Copies = append(out.change.Copies, Copied{Name: f.Name, Foreign: true})
		}
	}
	out.change.Files, out.change.Remove = add, surplus
	dir := a.obs.Certs.Path + "/" + certdir.TrustDir
	add = slices.DeleteFunc(slices.Clone(add), func(f File) bool { return f.Needed })
	if len(add) > 0 {
		out.report(Problem{Reason: TrustAdded, Severity: Warning, Path: dir, Repairable: true,
			Text: "lacks " + counted(len(add), "CA") + " of the trust setting"})
	}
	if len(surplus) > 0 {
		out.report(Problem{Reason: TrustRemoved, Severity: Warning, Path: dir, Repairable: true,
			Text: "contains " + counted(len(surplus), "CA") + " that trust no longer names"})
	}
	return out
}

// configured returns the CAs of `trust:`. sure is false when a source cannot be read, is empty or was changed a moment
// ago, so that the upgrade of a package removes no trust.
func configured(a *assessment) (cas []*x509.Certificate, sure bool, told finding) {
	sure = true
	for _, s := range a.obs.Trust {
		there := caCerts(s.Certs)
		cas = append(cas, there...)
		switch {
		case s.Err != nil:
			sure = false
			text := "cannot be read: " + s.Err.Error()
			if errors.Is(s.Err, fs.ErrNotExist) {
				text = "is missing"
				if s.Name != s.Path {
					text = "none of the base system's trust stores exists"
				}
			}
			sev := Error
			if errors.Is(s.Err, certdir.ErrDangling) {
				sev = Warning
			}
			told.report(convertible(Problem{Reason: TrustUnreadable, Severity: sev, Path: s.Path,
				Text: "trust: " + text + ": no CA is removed until it can be read",
				Hint: "restore it, or correct `trust:` in " + a.cfg.Path}, s.Err, false))
		case len(there) == 0:
			sure = false
			told.report(Problem{Reason: TrustEmpty, Severity: Error, Path: s.Path,
				Text: "trust: contains no CA certificate in PEM format, so no CA is removed until it contains one",
				Hint: "correct `trust:` in " + a.cfg.Path})
		}
		if s.Passed > 0 {
			told.report(Problem{Reason: TrustPassed, Severity: Notice, Path: s.Path,
				Text: "trust: mailcertd skips " + counted(s.Passed, "certificate") +
					" in DER format, or in a form that mailcertd or OpenSSL cannot read"})
		}
		if age := a.now.Sub(s.Changed); !a.wish.Once && age >= 0 && age < trustSettles {
			sure = false
			told.lookAt(s.Changed.Add(trustSettles), "a trust bundle is no longer being written")
		}
	}
	return cas, sure, told
}

// intermediates are the CA certificates behind the leaf of a kept foreign certificate: sendmail loads the leaf alone,
// so OpenSSL must find them by their hash links.
func intermediates(p *pair, final []*x509.Certificate) []*x509.Certificate {
	if p.leaf == nil || !p.keptForeign() && !(p.owner == Ours && p.matches) {
		return nil
	}
	return slices.DeleteFunc(caCerts(p.certFile.File.Certs[1:]), func(x *x509.Certificate) bool {
		return contains(final, x) || x.Equal(p.leaf)
	})
}

// chainsIn are the intermediates of the certificates that this plan installs.
func chainsIn(a *assessment, set Change) (out []*x509.Certificate) {
	for _, p := range a.pairs {
		if f := set.file(p.is.CertFile); f != nil && f.Source == FromData {
			if cs := pki.ReadCertFile(f.Data).Certs; len(cs) > 1 {
				out = append(out, caCerts(cs[1:])...)
			}
		}
	}
	return out
}

// hostChain are the intermediates of host.cert as it will be, where it is of an ACME CA.
func hostChain(a *assessment, set Change) []*x509.Certificate {
	if !a.issuer.acme() {
		return nil
	}
	if f := set.file(certdir.CertName); f != nil {
		if f.Source != FromData {
			return nil
		}
		return caCerts(pki.ReadCertFile(f.Data).Certs[1:])
	}
	if p := a.host; p.leaf != nil && p.owner == Ours && p.matches {
		return caCerts(p.certFile.File.Certs[1:])
	}
	return nil
}

// onlyInterim reports whether cacert.pem contains interim certificates alone. It is a CA file that sendmail can load,
// and vouches for nobody.
func onlyInterim(a *assessment) bool {
	f := a.obs.Certs.CA.File
	return f.Err == nil && len(f.Certs) > 0 && !slices.ContainsFunc(f.Certs, func(c *x509.Certificate) bool {
		return !isInterim(c)
	})
}

// onlyEnded reports whether cacert.pem contains expired intermediates alone, such as those of the first certificate of
// an ACME CA. The later ones are in trust/, and this file stays as it is until then.
func onlyEnded(a *assessment) bool {
	f := a.obs.Certs.CA.File
	return f.Err == nil && len(f.Certs) > 0 && !slices.ContainsFunc(f.Certs, func(c *x509.Certificate) bool {
		return pki.SelfSigned(c) || !a.at.After(c.NotAfter)
	})
}

// stillServed reports whether a CA in trust/ may stand above the leaf that a running sendmail serves until it has
// picked up another one: an intermediate goes after its last leaf.
func stillServed(a *assessment, e certdir.CertEntry) bool {
	return a.obs.State.Pickup != nil && slices.ContainsFunc(e.File.Certs, func(c *x509.Certificate) bool {
		return !pki.SelfSigned(c)
	})
}

// trustBlocked reports, with the problem, that no file can be written into trust/.
func trustBlocked(a *assessment) (told finding, is bool) {
	n := a.obs.Certs.TrustNode
	switch {
	case n.Err != nil:
		return blocked(n), true
	case n.Kind == durable.Link:
		told.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path, Text: "is a link to " + n.Target +
			": mailcertd does not write through it",
			Hint: "replace it by a directory"})
	case n.Exists && !n.IsDir:
		told.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path, Text: "is not a directory",
			Hint: "move it away; mailcertd does not delete it"})
	default:
		return told, false
	}
	return told, true
}

// toldAsCA reports whether a link changes together with its file in trust/: one item of the sentence counts all of
// those.
func toldAsCA(a *assessment, c Change, l certdir.LinkChange) bool {
	if l.Target != "" {
		f := c.file(l.Target)
		return f != nil && f.Reason == TrustAdded
	}
	i := slices.IndexFunc(a.obs.Certs.Links, func(h certdir.Link) bool { return h.Name == l.Name })
	return i >= 0 && slices.Contains(c.Remove, strings.TrimPrefix(a.obs.Certs.Links[i].Node.Target, "./"))
}

// countCAs counts the CAs that the change adds to trust/ and removes from it; an empty result for none.
func countCAs(c Change) (added, dropped []string) {
	n := 0
	for _, f := range c.Files {
		if f.Reason == TrustAdded {
			n++
		}
	}
	if n > 0 {
		added = append(added, counted(n, "CA")+" in "+certdir.TrustDir)
	}
	if len(c.Remove) > 0 {
		dropped = append(dropped, counted(len(c.Remove), "CA")+" from "+certdir.TrustDir)
	}
	return added, dropped
}
