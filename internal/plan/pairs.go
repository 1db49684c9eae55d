package plan

import (
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
)

// Wanted returns the configured pairs, the host's own first.
func Wanted(cfg config.Config) []certdir.Pair {
	out := []certdir.Pair{certdir.Host}
	if cfg.Key.Second != "" {
		out = append(out, certdir.HostECDSA)
	}
	if cfg.Client.Kind == config.ClientOwn {
		out = append(out, certdir.Client)
	}
	return out
}

// others decides about all pairs except the host's own.
func others(a *assessment, sofar finding) (out outcome) {
	for _, p := range a.pairs[1:] {
		with := sofar.and(out.finding)
		switch {
		case !p.wanted && !p.exists():
			if slices.Contains(p.obs.Pending.Staged, p.is.KeyFile) {
				out = out.and(finishStaged(p))
			}
		case !p.wanted && p.placeholder() && p.used():
			out = out.and(keepPlaceholders(p))
		case !p.wanted && !p.kept():
			out = out.and(unwanted(p))
		case p.is == certdir.Client && p.wanted && a.issuer.remote() && p.cfg.Client.Issuer.Kind == config.IssuerSSH &&
			p.cfg.Client.Issuer.SSH.Target != p.cfg.Issuer.SSH.Target:
			out.report(Problem{Reason: NoIssuer, Severity: Error, Path: a.cfg.Path,
				Text: "client.issuer names another CA host than issuer: no client pair is made",
				Hint: "name the same CA host in both"})
		default:
			if !p.wanted {
				out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p),
					Text: "is not configured any more, but sendmail.cf still names it, so mailcertd keeps and " +
						"renews it",
					Hint: "remove it from the host's .mc file, then run `make -C /etc/mail install restart`; " +
						"mailcertd " +
						"removes the pair after that"})
			}
			o := pairSection(p, with)
			if with.ask != nil { // the CA host is asked for one certificate at a time
				o.ask = nil
			}
			out = out.and(o).and(strip(p, o.change))
		}
	}
	return out
}

// unwanted decides about an unused pair. Our files are removed, with a backup as of every replaced file; a person's
// files stay.
func unwanted(p *pair) (out outcome) {
	for _, n := range []durable.Node{p.keyFile.Node, p.certFile.Node} {
		if n.Unread() || n.Exists && !n.IsRegular {
			return outcome{finding: blocked(n)}
		}
	}
	certOurs := p.owner.mine() || p.fileIsOurs(p.certFile.Digest) || p.certFile.IsPlaceholder()
	keyOurs := p.keyIsOurs() || p.keyFile.IsPlaceholder()
	if p.certFile.Node.Exists && !certOurs || p.keyFile.Node.Exists && !keyOurs ||
		p.keyFile.Node.Kind == durable.Link ||
		p.certFile.Node.Kind == durable.Link {
		out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p),
			Text: "mailcertd did not make it, and mailcertd.yaml asks for no such pair: it is left alone, and nobody " +
				"renews it",
			Hint: "if nothing uses these files, remove them; key.second and client in mailcertd.yaml configure such " +
				"pairs"})
		return out
	}
	if read(p) {
		out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p),
			Text: "is not configured any more: mailcertd removes the pair when sendmail has restarted, " +
				"because it may have read a sendmail.cf that named it"})
		return out
	}
	for _, f := range []struct {
		name   string
		n      durable.Node
		secret bool
	}{{p.is.CertFile, p.certFile.Node, false}, {p.is.KeyFile, p.keyFile.Node, true}} {
		if f.n.Kind == durable.Missing {
			continue
		}
		out.change.Drop = append(out.change.Drop, f.name)
		if worthKeeping(f.n) && !p.placeholder() {
			out.change.Copies = append(out.change.Copies, Copied{Name: f.name, Secret: f.secret})
		}
	}
	out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p), Repairable: true,
		Text: "is not configured any more, and sendmail.cf does not name it: mailcertd removes the pair, with a " +
			"backup"})
	return out
}
