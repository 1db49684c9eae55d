package plan

import (
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
)

// and joins two changes into one.
func (c Change) and(d Change) Change {
	c.Files, c.Links = slices.Concat(c.Files, d.Files), slices.Concat(c.Links, d.Links)
	c.Drop, c.Remove = slices.Concat(c.Drop, d.Drop), slices.Concat(c.Remove, d.Remove)
	c.Copies = slices.Concat(c.Copies, d.Copies)
	if d.Interim != nil {
		c.Interim = d.Interim
	}
	return c
}

// split separates what sendmail needs to offer STARTTLS from the rest: the files in trust/ with their links, and the
// CRL. A failure of the rest must not delay the first.
func (c Change) split() (core, extra Change) {
	core, extra = Change{Interim: c.Interim}, Change{Remove: c.Remove, Extra: true}
	for _, name := range c.Drop {
		if name == certdir.CRLName {
			extra.Drop = append(extra.Drop, name)
		} else {
			core.Drop = append(core.Drop, name)
		}
	}
	for _, f := range c.Copies {
		if inTrust(f.Name) {
			extra.Copies = append(extra.Copies, f)
		} else {
			core.Copies = append(core.Copies, f)
		}
	}
	for _, f := range c.Files {
		if inTrust(f.Name) && !f.Needed || f.Name == certdir.CRLName {
			extra.Files = append(extra.Files, f)
		} else {
			core.Files = append(core.Files, f)
		}
	}
	for _, l := range c.Links {
		needed := c.file(l.Target) != nil && c.file(l.Target).Needed
		if l.Target == "" || l.Target == certdir.CAName || l.Target == "./"+certdir.CAName || needed {
			core.Links = append(core.Links, l)
		} else {
			extra.Links = append(extra.Links, l)
		}
	}
	return core, extra
}

func inTrust(name string) bool { return strings.HasPrefix(name, certdir.TrustDir+"/") }

func (c Change) file(name string) *File {
	for i := range c.Files {
		if c.Files[i].Name == name {
			return &c.Files[i]
		}
	}
	return nil
}

// bridges reports whether the pair gets an interim certificate.
func (c Change) bridges(p certdir.Pair) bool {
	f := c.file(p.CertFile)
	return f != nil && f.Source == FromSelf
}

// StagesKey reports whether the change installs the pair's staged key.
func (c Change) StagesKey(p certdir.Pair) bool {
	f := c.file(p.KeyFile)
	return f != nil && f.Source == FromStaging
}

// emit turns a change into an action with the backups to make first; any is false for an empty change.
func emit(a *assessment, c Change) (act Action, any bool) {
	if len(c.Files) == 0 && len(c.Links) == 0 && len(c.Remove)+len(c.Drop) == 0 {
		return act, false
	}
	var installed, removed []string
	for _, f := range c.Files {
		if of, ofSet := certdir.FileOf(f.Name); ofSet && of.ReadAtStart() {
			c.Pickup = true // OpenSSL looks hash links up at each verification
		}
		if f.Reason != TrustAdded {
			installed = append(installed, f.Name)
		}
		if copied, needed := copied(a, f); needed {
			c.Copies = append(c.Copies, copied)
		}
	}
	for _, name := range c.Drop {
		of, _ := certdir.FileOf(name)
		c.Pickup = c.Pickup || of.ReadAtStart()
		removed = append(removed, name)
	}
	for _, l := range c.Links {
		switch {
		case toldAsCA(a, c, l):
		case l.Target == "":
			removed = append(removed, l.Name)
		default:
			installed = append(installed, l.Name)
		}
		if l.Foreign {
			c.Copies = append(c.Copies, Copied{Name: l.Name, Foreign: true})
		}
	}
	added, dropped := countCAs(c)
	var text Sentence
	if installed = append(installed, added...); len(installed) > 0 {
		text = ToInstall.With(strings.Join(installed, ", "))
	}
	if removed = append(removed, dropped...); len(removed) > 0 {
		text = append(text, toRemove.With(strings.Join(removed, ", "))...)
	}
	return Action{Kind: Install, Reason: reasonOf(c), Path: a.obs.Certs.Path, Text: text,
		Change: &c, Extra: c.Extra}, true
}

// reasonOf is the reason of the first part of a change.
func reasonOf(c Change) Reason {
	switch {
	case len(c.Files) > 0:
		return c.Files[0].Reason
	case slices.ContainsFunc(c.Drop, func(name string) bool { return name != certdir.CRLName }):
		return PairUnwanted
	case len(c.Drop) > 0:
		return CRLStale
	case len(c.Remove) > 0:
		return TrustRemoved
	case c.Links[0].Target == "":
		return LinkWrong
	}
	return LinkMissing
}

// copied is the backup to make before f replaces what is installed.
func copied(a *assessment, f File) (c Copied, needed bool) {
	n, _ := a.obs.Replaced(f.Name)
	if !worthKeeping(n) || f.Source == FromStripped { // stripping does not change the key itself
		return c, false
	}
	link := n.Kind == durable.Link
	c.Name = f.Name
	switch of, _ := certdir.FileOf(f.Name); of.Kind {
	case certdir.KindKey:
		if a.pair(of.Pair).keyFile.IsPlaceholder() {
			return c, false
		}
		c.Foreign, c.Secret = !a.pair(of.Pair).keyIsOurs() || link, true
	case certdir.KindCert:
		if a.pair(of.Pair).certFile.IsPlaceholder() {
			return c, false
		}
		c.Foreign = !a.pair(of.Pair).owner.mine() || link
	case certdir.KindCA:
		c.Foreign = !bundleIsOurs(a) || link
	case certdir.KindCRL: // the CA makes it again at any time
		c.Foreign = true
		return c, !a.fileIsOurs(a.obs.Certs.CRL.Digest)
	case certdir.KindDH:
		c.Foreign = true
		return c, link || !dhIsOurs(a)
	}
	return c, true
}

// worthKeeping reports whether a file has content; an empty one needs no backup.
func worthKeeping(n durable.Node) bool {
	return n.Kind == durable.Link || n.Exists && n.Size > 0
}

// bundleIsOurs reports whether cacert.pem holds our own generations alone.
func bundleIsOurs(a *assessment) bool {
	e := a.obs.Certs.CA
	if a.fileIsOurs(e.Digest) {
		return true
	}
	if e.File.Err != nil || len(e.File.Certs) == 0 {
		return false
	}
	for _, c := range e.File.Certs {
		interim := a.host.owner == Interim && c.Equal(a.host.leaf)
		if !contains(a.issuer.generations(), c) && !interim {
			return false
		}
	}
	return true
}
