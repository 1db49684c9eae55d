package plan

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
)

// TLSAFailure is the key of state.Failures for failed updates of TLSA records.
const TLSAFailure = "publish TLSA"

// tlsaReasons are the reasons for which the next key of a pair is made.
var tlsaReasons = map[dane.Why]Reason{dane.Asked: AskedKey, dane.Rotation: KeyRotation, dane.Resumed: AskedKey,
	dane.First: KeyMissing}

// tlsaNames are the names of the TLSA records of this host, which has that name; "": it has none.
func tlsaNames(cfg config.Config, name string) (out []string) {
	hosts := cfg.DANE.Names
	if len(hosts) == 0 && name != "" {
		hosts = []string{name}
	}
	for _, h := range hosts {
		for _, port := range cfg.DANE.Ports {
			out = append(out, dane.NameOf(h, port))
		}
	}
	return out
}

// AsksTLSA reports whether the DNS is asked for TLSA records. Below --root it is asked only where mailcertd.yaml says
// who publishes them, or said so before: somebody who tries mailcertd in a directory has no records.
func AsksTLSA(cfg config.Config, seen dane.Memory) bool {
	return cfg.Root == "" || cfg.DANE.Publish != config.PublishNone || !seen.Looked.IsZero()
}

// tlsaInput is what the decision about TLSA records is based on.
func tlsaInput(a *assessment) dane.Input {
	in := dane.Input{Mode: dane.Mode(a.cfg.DANE.Publish), Names: tlsaNames(a.cfg, a.name), TTL: a.cfg.DANE.TTL,
		Asks: AsksTLSA(a.cfg, a.obs.State.DANE), Served: a.obs.State.Pickup == nil,
		ServedSince: a.obs.State.PickedUp.At, Believed: a.clock == clockFine, Memory: a.obs.State.DANE}
	for _, p := range a.pairs {
		if !p.is.Server() || !p.wanted && !p.exists() {
			continue
		}
		one := dane.Pair{Name: p.is.Name, File: p.is.KeyFile, Present: publicKey(p.keyFile.Key.Public),
			Staged: publicKey(p.staged.Public), Rotates: p.cfg.Key.RotateAfter > 0, Idle: idlePair(a, p),
			Placeholder: p.placeholder()}
		if p.leaf != nil {
			one.Leaf, one.Ends = p.leaf.Raw, p.leaf.NotAfter.UTC()
			if p.owner.mine() && p.issuer.Kind != config.IssuerNone {
				one.Renewal = p.dueOf(p.leaf).UTC()
			}
		}
		switch {
		case p.keptForeign():
		case wantsFirst(p):
			one.Want = dane.First
		case p.askedKey && !p.wish.Now:
			one.Want = dane.Asked
		case p.rotates():
			one.Want = dane.Rotation
		}
		in.Pairs = append(in.Pairs, one)
	}
	return in
}

// idlePair reports whether a second pair is there, or is wanted, that no sendmail.cf names. A cf that cannot be read
// may name it.
func idlePair(a *assessment, p *pair) bool {
	if p.is != certdir.HostECDSA || a.obs.CF.Node.Err != nil || namesPair(a.obs.CF, a.obs.Certs, p.is) {
		return false
	}
	return a.obs.RunningCF == nil || !namesPair(*a.obs.RunningCF, a.obs.Certs, p.is)
}

// publicKey is a key as package dane has it; the zero Key where there is none, or one of an unknown kind.
func publicKey(pub crypto.PublicKey) dane.Key {
	if pub == nil {
		return dane.Key{}
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return dane.Key{}
	}
	return dane.Key{SPKI: der}
}

// mayChangeKey reports whether the TLSA records let the key of the pair be changed now. Nobody checks records of the
// client pair.
func (p *pair) mayChangeKey() bool { return !p.is.Server() || p.tlsa.May(p.is.Name) }

// askedNow reports whether a person has asked for a new key, now or earlier, and it may be used.
func askedNow(p *pair) bool {
	why := p.tlsa.Memory.Changes[p.is.Name].Why
	asked := p.askedKey || p.is.Server() && (why == dane.Asked || why == dane.Resumed)
	return asked && (p.mayChangeKey() || p.askedKey && p.wish.Now)
}

// TLSAObjection is why a key that a person brings or restores is not installed; nil: no TLSA record speaks against it.
func TLSAObjection(cfg config.Config, obs Observed, key crypto.PublicKey, pair certdir.Pair, now time.Time) error {
	has := obs.Certs.Pair(pair).Key.Key.Public
	if !pair.Server() || has != nil && pki.SamePublicKey(key, has) {
		return nil
	}
	a := assess(cfg, obs, Wish{}, now)
	d := a.tlsa
	if has == nil && d.Memory.Changes[pair.Name].Why != dane.First { // there is nothing to serve, or nobody uses it
		return nil
	}
	staged := obs.Staged[pair.Name].Key.Public
	if !d.Governed || d.May(pair.Name) && pki.SamePublicKey(key, staged) || d.Knows(pki.KeyFingerprint(key)) {
		return nil
	}
	var lines []string
	for _, name := range tlsaNames(cfg, a.name) {
		lines = append(lines, dane.RecordOf(pki.KeyFingerprint(key), cfg.DANE.TTL).Line(name))
	}
	return fmt.Errorf("its key is not the installed one, and there are TLSA records: hosts that check them would "+
		"not deliver mail to this host; publish this beside the others, and wait until every name server has "+
		"had it for %s: %s", dane.Spell(d.Longest), strings.Join(lines, ", "))
}

// tlsaAbout are the reasons of the problems about TLSA records.
var tlsaAbout = map[dane.About]Reason{dane.AboutChange: TLSAChange, dane.AboutAdd: TLSAAdd,
	dane.AboutRemove: TLSARemove, dane.AboutWrong: TLSAWrong, dane.AboutUnsigned: TLSAUnsigned,
	dane.AboutBogus: TLSABogus, dane.AboutFragile: TLSAFragile, dane.AboutUnknown: TLSAUnknown,
	dane.AboutTTL: TLSATTL, dane.AboutForeign: TLSAForeign}

// TLSAUpdateHint is what a person does about records that could not be published.
const TLSAUpdateHint = "correct dns: in mailcertd.yaml, or the name server; certificates are renewed meanwhile"

// tlsa reports what is to be known about the TLSA records, and that they could not be published.
func tlsa(a *assessment) (found finding) {
	for _, n := range a.tlsa.Notes {
		pr := Problem{Reason: tlsaAbout[n.About], Severity: [...]Severity{Notice, Warning, Error}[n.Grade],
			Text: n.Text,
			Hint: n.Hint, Path: a.cfg.Path}
		for _, p := range a.pairs {
			if p.is.Name != n.Pair {
				continue
			}
			pr.Path = cmp.Or(keyPath(p), a.obs.Certs.Path+"/"+p.is.KeyFile)
			if pr.Reason == TLSAChange && pr.Severity == Error && a.wish.replacedNow(p.is, p.installed) {
				pr.Severity = Warning // whoever wanted it so was told before
			}
		}
		found.report(pr)
	}
	dated := false
	for _, s := range a.tlsa.Steps {
		if !s.Done && s.At.After(a.now) {
			found.lookAt(s.At, s.What)
			dated = true
		}
	}
	if !dated && len(a.tlsa.Memory.Changes) > 0 && a.tlsa.LookAt.After(a.now) {
		found.lookAt(a.tlsa.LookAt, "ask the name servers for the TLSA records again")
	}
	for _, p := range a.pairs {
		if p.is.Server() && p.askedKey && p.wish.Now && a.tlsa.Governed {
			found.report(Problem{Reason: TLSAChange, Severity: Warning, Path: keyPath(p),
				Text: "the new key is used at once: hosts that check TLSA records do not deliver mail to this host " +
					"until " +
					"every name server has its record, and then for up to " + dane.Spell(a.tlsa.Longest),
				Hint: "without --now the new key waits for its record, and no mail is delayed"})
		}
	}
	if f, failed := a.obs.State.Failures[TLSAFailure]; failed && a.cfg.DANE.Publish == config.PublishUpdate &&
		len(a.tlsa.Edits) > 0 {
		severity := Warning
		for _, c := range a.tlsa.Memory.Changes {
			if c.Why == dane.AtOnce {
				severity = Error
			}
		}
		found.report(Problem{Reason: TLSAUpdate, Severity: severity, Path: a.cfg.Path,
			Text: "the TLSA records could not be published: " + f.Error + "; mailcertd tries again " + again(f.Next,
				a.now),
			Hint: TLSAUpdateHint})
	}
	return found
}
