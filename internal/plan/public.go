package plan

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// publicSide reports what the certificates of an ACME CA mean for what this host trusts and allows.
func publicSide(a *assessment, by *pairIssuer) (found finding) {
	var told []string
	for _, p := range a.pairs {
		if !p.issuer.acme() || p.owner != Ours || !p.matches || otherIssuer(p) != "" {
			continue
		}
		chain := p.certFile.File.Certs
		root := pki.Readable(chain[len(chain)-1].RawIssuer)
		if a.trustsRootOf(chain) || slices.Contains(told, root) {
			continue
		}
		told = append(told, root)
		found.report(Problem{Reason: RootUntrusted, Severity: Notice, Path: certPath(p),
			Text: fmt.Sprintf("its chain ends at the root %s, which this host does not trust: sendmail here logs "+
				"verify=FAIL about hosts with certificates of that CA, and about this host itself", root),
			Hint: a.trustLine(by)})
	}
	return found.and(accessRules(a))
}

// trustsRootOf reports whether a certificate of the chain is signed by a root that this host trusts, or is one.
func (a *assessment) trustsRootOf(chain []*x509.Certificate) bool {
	roots := slices.Clone(a.obs.Certs.CA.File.Certs)
	for _, t := range a.obs.Certs.Trust {
		roots = append(roots, t.File.Certs...)
	}
	for _, s := range a.obs.Trust { // it gets its file in trust/ by this plan
		roots = append(roots, s.Certs...)
	}
	return slices.ContainsFunc(roots, func(r *x509.Certificate) bool {
		signed := func(c *x509.Certificate) bool { return pki.IssuedBy(c, r) }
		return pki.SelfSigned(r) && slices.ContainsFunc(chain, signed)
	})
}

// trustLine says which line of the configuration makes the roots of the ACME CA trusted.
func (a *assessment) trustLine(by *pairIssuer) string {
	var names []string
	for _, t := range a.cfg.Trust {
		names = append(names, strings.TrimPrefix(t, a.cfg.Root))
	}
	with := func(name string) string { return "`trust: [" + strings.Join(append(names, name), ", ") + "]`" }
	file := strings.TrimPrefix(by.ACME.CAFile, a.cfg.Root)
	switch {
	case file != "" && !slices.Contains(names, file):
		return "write " + with(file) + " into mailcertd.yaml, if that file has this root; otherwise get the root " +
			"from the CA and name its file there"
	case by.ACME.Directory == "letsencrypt" && !slices.Contains(names, "system"):
		return "write " + with("system") + " into mailcertd.yaml: the base system knows the roots of public CAs"
	}
	return "get the root from the CA, write it into a file, and name the file in mailcertd.yaml: " + with("FILE")
}

// accessRules reports rules of the access map that certificates of public CAs do not match, or match too widely.
func accessRules(a *assessment) (found finding) {
	m := a.obs.Access
	if m.Err != nil {
		found.report(Problem{Reason: Unreadable, Severity: Warning, Path: m.Path, Text: "the lines of the access map " +
			"cannot be checked: " + m.Err.Error(), Hint: readHint(m.Err)})
	}
	if m.Unseen != "" {
		found.report(Problem{Reason: AccessSubject, Severity: Notice, Path: cmp.Or(m.Path, a.cf().Path),
			Text: "the rules of the access map cannot be seen, because " + m.Unseen + ": where it has rules with " +
				"CERTSubject, certificates of public CAs match none of them",
			Hint: "look into it for CERTSubject, and for rules with CERTIssuer that let a public CA relay"})
	}
	const then = "; then run `make -C /etc/mail maps`"
	var subjects []string
	for _, r := range m.Rules {
		if r.Tag == "CERTSubject" {
			subjects = append(subjects, fmt.Sprint(r.Line))
		}
	}
	if n := len(subjects); n > 0 {
		found.report(Problem{Reason: AccessSubject, Severity: Notice, Path: m.Path, Text: "has CERTSubject in line " +
			strings.Join(subjects[:min(n, maxLines)], ", ") + ": certificates of public CAs have an empty subject, " +
			"which no such line matches",
			Hint: "a host in such a line must show a certificate of the private CA when it delivers mail here: write " +
				"`client: {issuer: local}` or `{issuer: {ssh: ...}}` into its mailcertd.yaml; or allow it by its " +
				"address, with Connect:" + then})
	}
	for _, p := range a.pairs {
		if !p.issuer.acme() || p.owner != Ours || p.leaf == nil || otherIssuer(p) != "" {
			continue
		}
		key := mta.AccessKey(pki.OneLine(p.leaf.RawIssuer))
		for _, r := range m.Rules {
			if r.Tag == "CERTIssuer" && strings.EqualFold(r.Key, key) && strings.EqualFold(r.Value, "RELAY") {
				found.report(Problem{Reason: AccessIssuer, Severity: Warning, Path: m.Path,
					Text: fmt.Sprintf("line %d allows relaying for everybody who has a certificate of %s, a public CA",
						r.Line, pki.Readable(p.leaf.RawIssuer)), Hint: "remove the line" + then})
			}
		}
		break // the pairs have one CA
	}
	return found
}

// maxLines bounds the line numbers in one message.
const maxLines = 5
