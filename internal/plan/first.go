package plan

import (
	"mailcertd/internal/certdir"
	"mailcertd/internal/dane"
)

// The first key of a second pair has to wait for its TLSA record where sendmail.cf names the pair already. Without its
// files sendmail would offer no STARTTLS, so there are placeholders meanwhile: where sendmail cannot load a file of the
// second pair, it serves the first pair alone.

// lacksKey reports whether there is no key yet: no file, or a placeholder.
func (i installed) lacksKey() bool {
	return !i.keyFile.Node.Exists && i.keyFile.Node.Err == nil || i.keyFile.IsPlaceholder()
}

// lacksCert is lacksKey for the certificate.
func (i installed) lacksCert() bool {
	return !i.certFile.Node.Exists && i.certFile.Node.Err == nil || i.certFile.IsPlaceholder()
}

// placeholder reports whether a file keeps the place of the pair.
func (i installed) placeholder() bool { return i.keyFile.IsPlaceholder() || i.certFile.IsPlaceholder() }

// wantsFirst reports whether this is a second pair that is to get its first key.
func wantsFirst(p *pair) bool {
	return p.is == certdir.HostECDSA && p.wanted && p.lacksKey() && p.lacksCert()
}

// firstWaits reports whether that key waits for its TLSA record.
func firstWaits(p *pair) bool {
	return wantsFirst(p) && p.tlsa.Memory.Changes[p.is.Name].Why == dane.First && !p.mayChangeKey() &&
		!(p.askedKey && p.wish.Now)
}

// firstKey installs the placeholders where sendmail.cf names the files, and then makes the first key in advance. Both
// are staged under the same name, so a key gives way to a placeholder: it is made again, and its wait begins again.
func firstKey(p *pair) outcome {
	unread, is := stagedUnread(p)
	switch {
	case is:
		return outcome{finding: unread}
	case !p.used(), p.keyFile.Node.Exists && p.certFile.Node.Exists:
		return inAdvance(p)
	}
	var out outcome
	if !p.keyFile.Node.Exists && p.staged.Public != nil {
		out.do(unstage(p))
		return out
	}
	for _, f := range []File{{Name: p.is.KeyFile, Mode: keyMode}, {Name: p.is.CertFile, Mode: publicMode}} {
		if n, _ := p.obs.Certs.File(f.Name); !n.Exists {
			f.Source, f.Data, f.Reason = FromData, certdir.Placeholder(), TLSAChange
			out.change.Files = append(out.change.Files, f)
		}
	}
	return out
}

// keepPlaceholders keeps those of a pair that is not wanted any more while sendmail.cf names them.
func keepPlaceholders(p *pair) outcome {
	out := finishStaged(p)
	out.report(Problem{Reason: PairUnwanted, Severity: Warning, Path: certPath(p),
		Text: "mailcertd.yaml asks for no such pair, and sendmail.cf still names it: the file stays, because " +
			"sendmail offers no STARTTLS without it",
		Hint: "remove it from the host's .mc file, then run `make -C /etc/mail install restart`"})
	return out
}
