package plan

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
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

// TrustSource is one entry of `trust:` and what was found there.
type TrustSource struct {
	Name string // as it is configured: a path, or the word system
	certdir.Bundle
}

const (
	// maxTrust bounds how many CAs get a file of their own. The largest public
	// bundles hold about 150.
	maxTrust = 2000
	// trustSettles is how long a bundle must have rested before the daemon takes
	// a CA away because of it: certctl(8) empties /etc/ssl/certs and fills it
	// again, one link at a time.
	trustSettles = 5 * time.Second
)

// trustFile is the file of a CA in trust/: called after the SHA-256 of its DER.
func trustFile(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return certdir.TrustDir + "/ca-" + hex.EncodeToString(sum[:16]) + ".pem"
}

// OwnTrust says that a file in trust/ is one that mailcertd made: it is called
// after the one certificate that it holds, and holds nothing else. That needs
// no memory, so it is true on any host and after any loss of the state.
func OwnTrust(e certdir.CertEntry) bool {
	if e.Node.Kind != durable.File || e.File.Err != nil || len(e.File.Certs) != 1 {
		return false
	}
	c := e.File.Certs[0]
	return entryName(e) == trustFile(c) && e.Digest == digest(pki.EncodeCertificate(c.Raw))
}

func entryName(e certdir.CertEntry) string {
	return certdir.TrustDir + "/" + baseName(e.Node.Path)
}

// bundles gives every CA of `trust:`, and every intermediate of a kept
// certificate, a file in trust/, and takes away those that nobody wants any
// more. want is what gets hash links; final is what cacert.pem will hold.
// Nothing is taken away as long as it is not sure what is wanted.
func (a *assessment) bundles(p *Plan, c *Change, final []*x509.Certificate, want map[string][]*x509.Certificate) {
	cas, sure := a.configured(p)
	cas = append(cas, a.intermediates(final)...)
	if !a.pairReadable() {
		sure = false // intermediates may be on their way
	}
	wanted := map[string]bool{}
	for _, x := range cas {
		wanted[trustFile(x)] = true
	}
	have := map[string]certdir.CertEntry{}
	var surplus []string
	for _, e := range a.obs.Certs.Trust {
		name := entryName(e)
		have[name] = e
		if !wanted[name] && OwnTrust(e) {
			surplus = append(surplus, name)
		}
	}
	if len(wanted) > maxTrust {
		p.report(Problem{Reason: TrustTooMany, Severity: Error, Path: a.cfg.Path,
			Text: fmt.Sprintf("trust: names %d CAs, at most %d get hash links: nothing of it is changed", len(wanted), maxTrust)})
		return
	}
	var add []File
	for _, x := range cas {
		name := trustFile(x)
		e, there := have[name]
		switch {
		case !wanted[name]: // named twice
			continue
		case there && e.File.Err == nil && contains(e.File.Certs, x): // ours, or a person's with the same in it
		case there && (e.Node.Err != nil || e.Node.Exists && !e.Node.IsRegular):
			a.reportBlocked(p, e.Node)
		default:
			add = append(add, File{Name: name, Mode: publicMode, Data: pki.EncodeCertificate(x.Raw), Reason: TrustAdded})
		}
		wanted[name] = false
	}
	if !sure {
		surplus = nil
	}
	if len(add)+len(surplus) == 0 || a.trustBlocked(p) {
		return
	}
	for _, f := range add {
		c.Files = append(c.Files, f)
		want[f.Name] = pki.ReadCertFile(f.Data).Certs
		if e, there := have[f.Name]; there && worthKeeping(e.Node) {
			c.Archive = append(c.Archive, Archived{Name: f.Name, Foreign: true})
		}
	}
	for _, name := range surplus {
		c.Remove = append(c.Remove, name)
		delete(want, name)
	}
	dir := a.obs.Certs.Path + "/" + certdir.TrustDir
	if len(add) > 0 {
		p.report(Problem{Reason: TrustAdded, Severity: Warning, Path: dir, Mended: true,
			Text: fmt.Sprintf("%d CA(s) that are to be trusted have no file and hash link", len(add))})
	}
	if len(surplus) > 0 {
		p.report(Problem{Reason: TrustRemoved, Severity: Warning, Path: dir, Mended: true,
			Text: fmt.Sprintf("%d CA(s) are not to be trusted any more", len(surplus))})
	}
}

// configured are the CAs of `trust:`. sure is false when something of it cannot
// be read, holds nothing or is just being written: a package that is being
// upgraded takes no trust away.
func (a *assessment) configured(p *Plan) (cas []*x509.Certificate, sure bool) {
	sure = true
	for _, s := range a.obs.Trust {
		found := authorities(s.Certs)
		cas = append(cas, found...)
		switch {
		case s.Err != nil:
			sure = false
			text := "cannot be read: " + s.Err.Error()
			if errors.Is(s.Err, fs.ErrNotExist) {
				text = "is missing"
				if s.Name != s.Path {
					text = "none of the base system's trust stores is there"
				}
			}
			sev := Error
			if errors.Is(s.Err, certdir.ErrDangling) {
				sev = Warning
			}
			p.report(Problem{Reason: TrustUnreadable, Severity: sev, Path: s.Path,
				Text: "trust: " + text + ": no CA is taken away until it can be read",
				Hint: "put it back, or correct `trust:` in " + a.cfg.Path})
		case len(found) == 0:
			sure = false
			p.report(Problem{Reason: TrustEmpty, Severity: Error, Path: s.Path,
				Text: "trust: holds no CA certificate in PEM: no CA is taken away until it does",
				Hint: "correct `trust:` in " + a.cfg.Path})
		}
		if s.Passed > 0 {
			p.report(Problem{Reason: TrustPassed, Severity: Notice, Path: s.Path,
				Text: fmt.Sprintf("trust: %d certificate(s) are passed over: DER, or of a form that mailcertd cannot read", s.Passed)})
		}
		if age := a.now.Sub(s.Changed); !a.wish.Once && age >= 0 && age < trustSettles {
			sure = false
			p.lookAt(s.Changed.Add(trustSettles), "a trust bundle has come to rest")
		}
	}
	return cas, sure
}

// intermediates are the CA certificates behind the leaf of a kept foreign
// certificate: sendmail loads the leaf alone, so they must be found by hash.
func (a *assessment) intermediates(final []*x509.Certificate) []*x509.Certificate {
	if !a.keptForeign() || a.leaf == nil {
		return nil
	}
	return slices.DeleteFunc(authorities(a.obs.Certs.Cert.File.Certs[1:]), func(x *x509.Certificate) bool {
		return contains(final, x) || bytes.Equal(x.Raw, a.leaf.Raw)
	})
}

// pairReadable says that host.cert and host.key are whole and belong together:
// nobody is in the middle of copying them.
func (a *assessment) pairReadable() bool { return a.matches && a.obs.Certs.Cert.File.Behind == nil }

// trustBlocked says that nothing can be put into trust/.
func (a *assessment) trustBlocked(p *Plan) bool {
	n := a.obs.Certs.TrustNode
	switch {
	case n.Err != nil:
		a.reportBlocked(p, n)
	case n.Kind == durable.Link:
		p.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path, Text: "is a link to " + n.Target + ": nothing is written through it",
			Hint: "make it a directory"})
	case n.Exists && !n.IsDir:
		p.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path, Text: "is no directory", Hint: "move it away; mailcertd does not delete it"})
	default:
		return false
	}
	return true
}

// toldAsCA says that a link comes or goes together with its file in trust/,
// which is told in one line for all of them.
func (a *assessment) toldAsCA(c *Change, l certdir.LinkChange) bool {
	if l.Target != "" {
		f := c.file(l.Target)
		return f != nil && f.Reason == TrustAdded
	}
	i := slices.IndexFunc(a.obs.Certs.Links, func(h certdir.Link) bool { return h.Name == l.Name })
	return i >= 0 && slices.Contains(c.Remove, strings.TrimPrefix(a.obs.Certs.Links[i].Node.Target, "./"))
}

func countCAs(c *Change) []string {
	var out []string
	n := 0
	for _, f := range c.Files {
		if f.Reason == TrustAdded {
			n++
		}
	}
	if n > 0 {
		out = append(out, fmt.Sprintf("%d CA(s) in %s", n, certdir.TrustDir))
	}
	if len(c.Remove) > 0 {
		out = append(out, fmt.Sprintf("%d CA(s) less in %s", len(c.Remove), certdir.TrustDir))
	}
	return out
}
