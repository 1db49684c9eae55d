package given

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// ACME configures Let's Encrypt as the issuer.
func ACME() Fact {
	return Configured(func(c *config.Config) {
		c.Issuer = config.Issuer{Kind: config.IssuerACME, ACME: config.ACME{Directory: "letsencrypt", AgreeTOS: true,
			Challenge: config.ChallengeHTTP}}
	})
}

// Instead configures another issuer of that kind: the CA of the certificate is the former one.
func Instead(kind config.IssuerKind) Fact {
	return Configured(func(c *config.Config) {
		c.Issuer = config.Issuer{Kind: kind}
		if kind == config.IssuerSSH {
			c.Issuer.SSH.Target = "mailcertd@krb5.home.example"
		}
	})
}

// Public is a certificate of 90 days from Let's Encrypt, with an empty subject and its intermediate after it. The CA
// was asked an hour ago when to renew it. It named a window that begins in 20 days, and wants to be asked again in five
// hours.
func Public() Fact {
	return func(h *host) {
		ACME()(h)
		h.current = ""
		h.intermediate()
		h.leaf.issuer, h.leaf.nameless, h.leaf.usage = "le", true, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		h.leaf.begins, h.leaf.ends, h.age = h.Now.Add(-40*Day), h.Now.Add(50*Day), 40*Day
		h.leaf.behind, h.cacert = []*x509.Certificate{h.cas["le"]}, []string{"le", "isrg"}
		h.since = append([]func(*host){func(h *host) {
			h.Seen.State.CA = ""
			if h.noPair {
				return
			}
			h.Seen.State.ACME = map[string]state.ACME{certdir.Host.Name: {
				Sent: pki.Fingerprint(h.Seen.Certs.Cert.File.Certs[0]), SentBy: "letsencrypt",
				Leaf: pki.Fingerprint(h.Seen.Certs.Cert.File.Certs[0]), Directory: "letsencrypt",
				Answered: h.Now.Add(-40 * Day), Start: h.Now.Add(20 * Day), End: h.Now.Add(22 * Day),
				Renew: h.Now.Add(21 * Day), Poll: h.Now.Add(5 * time.Hour)}}
		}}, h.since...)
	}
}

// PublicPair installs another pair from Let's Encrypt beside that of Public. label names its key. It is renewed in that
// time, a moment in the CA's window.
func PublicPair(p certdir.Pair, key string, in time.Duration) Fact {
	return later(func(h *host) {
		kept := h.leaf
		h.leaf.key = key
		c := h.certificate()
		h.leaf = kept
		e, s := h.Seen.Certs.Pair(p), &h.Seen.State
		e.Key.Node, e.Key.Digest = h.file(p.KeyFile, 0o600, []byte("key "+p.Name+key))
		e.Key.Node.Data = nil
		e.Key.Key = pki.KeyFile{Public: public(key), Type: pki.TypeOf(public(key)), Form: "PKCS#8", Keys: 1}
		e.Cert = h.certs(p.CertFile, pki.ReadLeafFile, c, h.cas["le"])
		s.Ours[plan.FileID(e.Key.Digest)] = state.Ours{Kind: "key", At: h.Now.Add(-h.age)}
		s.Ours[plan.FileID(e.Cert.Digest)] = state.Ours{Kind: "cert", At: h.Now.Add(-h.age)}
		s.ACME[p.Name] = state.ACME{Sent: pki.Fingerprint(c), SentBy: "letsencrypt", Leaf: pki.Fingerprint(c),
			Directory: "letsencrypt", Answered: h.Now.Add(-40 * Day), Start: h.Now.Add(in - Day),
			End: h.Now.Add(in + Day), Renew: h.Now.Add(in), Poll: h.Now.Add(4 * time.Hour)}
		s.PickedUp.Set = plan.SetID(h.Seen.Certs)
	})
}

// Account is an account at the CA, whose last order had that profile.
func Account(url, profile string) Fact {
	return Seeing(func(o *plan.Observed) { o.AtCA = plan.CAAccount{URL: url, Profile: profile} })
}

func (h *host) intermediate() {
	if h.cas["le"] != nil {
		return
	}
	root := rootOf("isrg", subjectOf("ISRG", "Root X1"), h.Now.Add(-900*Day), h.Now.Add(2000*Day))
	h.cas["le"] = cross(rootOf("le", subjectOf("Let's Encrypt", "E7"), h.Now.Add(-500*Day), h.Now.Add(500*Day)), root,
		"isrg")
	h.cas["isrg"] = root
}

// RootUnknown is a host that does not trust the root of Let's Encrypt.
func RootUnknown() Fact { return func(h *host) { h.cacert = []string{"le"} } }

// OldIntermediate adds an intermediate of Let's Encrypt that has expired to these certificates of cacert.pem.
func OldIntermediate(beside ...string) Fact {
	return func(h *host) {
		begins, ends := h.Now.Add(-1200*Day), h.Now.Add(-100*Day)
		h.cas["le-old"] = cross(rootOf("le-old", subjectOf("Let's Encrypt", "E5"), begins, ends),
			rootOf("isrg", subjectOf("ISRG", "Root X1"), begins, ends), "isrg")
		h.cacert = append(beside, "le-old")
	}
}

// AccessRules are these rules of the access map.
func AccessRules(rules ...mta.AccessRule) Fact {
	return Seeing(func(o *plan.Observed) { o.Access = mta.AccessMap{Path: "/etc/mail/access", Rules: rules} })
}

// Window sets the moment in its CA's window at which a public certificate is renewed; zero means that the CA named no
// window.
func Window(in time.Duration) Fact {
	return onWindow(func(h *host, m *state.ACME) {
		m.Start, m.End, m.Renew = h.Now.Add(in-Day), h.Now.Add(in+Day), h.Now.Add(in)
	})
}

// OrderedByWindow is a certificate that was ordered because the window of the one before it had come.
func OrderedByWindow() Fact { return onWindow(func(_ *host, m *state.ACME) { m.ByWindow = true }) }

// RevokedByACME is a certificate that the ACME CA revoked an hour ago for that reason, because a person asked for it.
func RevokedByACME(reason string) Fact {
	return onWindow(func(h *host, m *state.ACME) { m.Revoked, m.RevokedFor = h.Now.Add(-time.Hour), reason })
}

// NoWindow is a CA that does not say when to renew.
func NoWindow() Fact {
	return onWindow(func(_ *host, m *state.ACME) { m.Start, m.End, m.Renew = time.Time{}, time.Time{}, time.Time{} })
}

// PollIn sets when the CA is asked again when to renew.
func PollIn(d time.Duration) Fact {
	return onWindow(func(h *host, m *state.ACME) { m.Poll = h.Now.Add(d) })
}

// WithFallback configures a second ACME CA.
func WithFallback() Fact {
	return Configured(func(c *config.Config) { c.Issuer.ACME.Fallback.Directory = "https://fallback.example/dir" })
}

// FromFallback is a certificate of that CA.
func FromFallback() Fact {
	return onWindow(func(_ *host, m *state.ACME) {
		m.Directory, m.SentBy = "https://fallback.example/dir", "https://fallback.example/dir"
	})
}

// FallbackSaidNo is a refusal of that kind by the second CA. It is asked again in that time.
func FallbackSaidNo(kind issuer.Kind, next time.Duration) Fact {
	return func(h *host) {
		Failed(plan.FallbackFailure(certdir.Host), 2, next)(h)
		Remembers(func(s *state.State) {
			f := s.Failures[plan.FallbackFailure(certdir.Host)]
			f.Kind = string(kind)
			s.Failures[plan.FallbackFailure(certdir.Host)] = f
		})(h)
	}
}

// FromStaging is a certificate of Let's Encrypt's staging directory.
func FromStaging() Fact {
	return onWindow(func(_ *host, m *state.ACME) {
		m.Directory, m.SentBy = "letsencrypt-staging", "letsencrypt-staging"
	})
}

func onWindow(do func(*host, *state.ACME)) Fact {
	return later(func(h *host) {
		m := h.Seen.State.ACME[certdir.Host.Name]
		do(h, &m)
		h.Seen.State.ACME[certdir.Host.Name] = m
	})
}

// Ordered is the last answer of the CA, for the key of that label and these names. It was sent so long ago.
func Ordered(key string, age time.Duration, names ...string) Fact {
	return later(func(h *host) {
		h.intermediate()
		kept := h.leaf
		h.leaf = leaf{key: key, names: names, begins: h.Now.Add(-age - time.Hour), ends: h.Now.Add(90*Day - age),
			issuer: "le", usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		c := h.certificate()
		h.leaf = kept
		h.Seen.Orders = map[string]issuer.Reply{certdir.Host.Name: {Status: issuer.Signed, Leaf: c,
			CAs: []*x509.Certificate{h.cas["le"]}}}
		m := h.Seen.State.ACME[certdir.Host.Name] // this is about the installed certificate, if the CA has sent that
		m.Sent, m.SentBy, m.Answered = pki.Fingerprint(c), "letsencrypt", h.Now.Add(-age)
		h.Seen.State.ACME = map[string]state.ACME{certdir.Host.Name: m}
	})
}

// AnswerInstalled makes the installed certificate the last answer of the CA.
func AnswerInstalled() Fact {
	return Seeing(func(o *plan.Observed) {
		cs := o.Certs.Cert.File.Certs
		o.Orders = map[string]issuer.Reply{certdir.Host.Name: {Status: issuer.Signed, Leaf: cs[0], CAs: cs[1:]}}
	})
}

// AnswerUnreadable is a last answer of the CA that cannot be read.
func AnswerUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.OrderErrs = map[string]error{certdir.Host.Name: issuer.ErrMessage}
	})
}

// SaidNo is a refusal of that kind by the CA. The CA is asked again in that time.
func SaidNo(kind issuer.Kind, next time.Duration) Fact {
	return SaidNoTo(certdir.Host, kind, next, "the CA says no")
}

// SaidNoTo is SaidNo for one pair, with this text.
func SaidNoTo(p certdir.Pair, kind issuer.Kind, next time.Duration, words string) Fact {
	return later(func(h *host) {
		if h.Seen.State.Failures == nil {
			h.Seen.State.Failures = map[string]state.Failure{}
		}
		h.Seen.State.Failures[plan.ObtainFailureOf(p)] = state.Failure{Count: 2, First: h.Now.Add(-time.Hour),
			Last: h.Now.Add(-time.Minute), Next: h.Now.Add(next), Error: words, Kind: string(kind)}
	})
}

// Outlook is what was found out about the next order for a person who checks.
func Outlook(o plan.Outlook) Fact {
	return Seeing(func(seen *plan.Observed) { seen.Outlook = &o })
}

// OrderedFrom is a host.cert that says from which directory mailcertd has ordered it.
func OrderedFrom(directory string) Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.Cert.File.Before = plan.OrderLine(directory) })
}

// Forgotten is a state in which nothing of the certificates is left.
func Forgotten() Fact {
	return Remembers(func(s *state.State) { *s = state.State{HighWater: s.HighWater, PickedUp: s.PickedUp} })
}
