package report

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
	"mailcertd/internal/keeper"
	"mailcertd/internal/mta"
	"mailcertd/internal/pickup"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// NewStatus makes the report of an observation and its plan. It asks no listener. program is the version of mailcertd.
func NewStatus(program string, cfg config.Config, r keeper.Result, now time.Time) Status {
	o, p := r.Observed, r.Plan
	privateCA, next := newCA(cfg, o.CA, now, MostNextDue)
	rep := Status{Version: 1, At: now.UTC().Truncate(time.Second), Program: program, Name: p.Facts.Name,
		Offered:     p.Facts.Offered,
		Certificate: describeCertificate(cfg, r, now), Pairs: []Pair{}, Trust: []string{}, Trusted: []Trusted{},
		DH:         describeDH(o),
		IssuerKind: string(cfg.Issuer.Kind), CA: privateCA, CRL: describeCRL(r),
		Sendmail: describeSendmail(r), Problems: NonNil(p.Problems), Pickups: []PickupResult{}}
	for _, f := range p.Facts.Pairs {
		rep.Pairs = append(rep.Pairs, describePair(cfg, r, f, rep.Sendmail, now))
	}
	if cs := o.Certs.Cert.File.Certs; len(cs) > 0 {
		rep.TLSA = "3 1 1 " + pki.KeyFingerprint(cs[0].PublicKey)
	}
	if k := o.Certs.Key.Key; k.Public != nil {
		rep.Key = string(k.Type)
	}
	for _, c := range o.Certs.CA.File.Certs {
		rep.Trust = append(rep.Trust, pki.OneLine(c.RawSubject))
		rep.Trusted = append(rep.Trusted, Trusted{Subject: pki.OneLine(c.RawSubject), Text: pki.Readable(c.RawSubject),
			NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), SHA256: pki.Fingerprint(c)})
	}
	if o.CA.Status != ca.Absent {
		rep.Issued = &Issued{Valid: rep.CA.Valid, Expired: rep.CA.Expired, Revoked: rep.CA.Revoked, NextDue: []Listed{}}
		here := installedIn(o.Certs)
		for _, l := range next {
			rep.Issued.NextDue = append(rep.Issued.NextDue, NewListed(o.CA, l, here, now))
		}
	}
	if cfg.Issuer.Kind == config.IssuerSSH {
		rep.Issuer = &OtherCA{Target: cfg.Issuer.SSH.Target, Trusted: len(o.Accepted),
			Asked: moment(p.State.Member.Asked)}
	}
	rep.DANE = describeDANE(cfg, r)
	if cfg.Issuer.Kind == config.IssuerACME {
		rep.ACME = describeACME(cfg, r)
	}
	if rep.Next = moment(p.Next); rep.Next != nil {
		rep.NextWhat = p.NextWhat
	}
	if len(p.Actions) > 0 {
		rep.Next, rep.NextWhat = moment(now.Truncate(time.Second)),
			"`mailcertd ensure` or the daemon does what has to be done"
	}
	if q := p.Ask; q != nil {
		rep.Next, rep.NextWhat = moment(now.Truncate(time.Second)), q.Text.Base()
	}
	if o.Daemon != plan.DaemonUnknown {
		runs := o.Daemon == plan.DaemonRuns
		rep.Daemon = &runs
	}
	for _, d := range p.State.Pickups {
		rep.Pickups = append(rep.Pickups,
			PickupResult{At: d.At.UTC(), Serial: d.Serial, Result: d.Result, Detail: d.Detail})
	}
	return rep
}

// describeACME describes the ACME CA. The renewal window is reported only if it is that of the installed certificate.
func describeACME(cfg config.Config, r keeper.Result) *ACMECA {
	a := &ACMECA{Directory: cfg.Issuer.ACME.Directory, Account: r.Observed.AtCA.URL,
		Profile: r.Observed.AtCA.Profile, Fallback: cfg.Issuer.ACME.Fallback.Directory}
	for _, f := range r.Plan.Facts.Pairs {
		if !f.Public {
			continue
		}
		if w := windowOf(f); w != nil && f.Pair == certdir.Host {
			a.WindowStart, a.WindowEnd, a.Poll, a.Why = w.Start, w.End, w.Poll, w.Why
		}
		for i, key := range []string{plan.ObtainFailureOf(f.Pair), plan.FallbackFailure(f.Pair)} {
			if no, refused := r.Plan.State.Failures[key]; refused {
				a.Refusals = append(a.Refusals, Refusal{Pair: f.Pair.Name, Fallback: i > 0, Kind: no.Kind,
					Text: no.Error, Since: no.First.UTC(), Attempts: no.Count, Next: no.Next.UTC()})
			}
		}
	}
	return a
}

// windowOf is what an ACME CA has said of the installed certificate of a pair; nil: nothing.
func windowOf(f plan.PairFacts) *Window {
	if m := f.Window; !m.Poll.IsZero() || !m.Renew.IsZero() {
		return &Window{Start: moment(m.Start), End: moment(m.End), Poll: moment(m.Poll), Why: m.Why}
	}
	return nil
}

// moment returns a pointer to t, nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// describePair describes the files of a pair.
func describePair(cfg config.Config, r keeper.Result, f plan.PairFacts, sendmail Sendmail, now time.Time) Pair {
	e := r.Observed.Certs.Pair(f.Pair)
	p := Pair{Name: f.Pair.Name, Wanted: f.Wanted, Named: f.Named}
	if e.Key.Key.Public != nil {
		p.Key = string(e.Key.Key.Type)
	}
	if f.Pair.Server() && f.Named && sendmail.NamesOurs {
		p.Seen = sendmail.Seen
	}
	cs := e.Cert.File.Certs
	if len(cs) == 0 {
		return p
	}
	if f.Pair.Server() {
		p.TLSA = "3 1 1 " + pki.KeyFingerprint(cs[0].PublicKey)
	}
	if f.Pair == certdir.Host {
		p.Certificate = describeCertificate(cfg, r, now)
		return p
	}
	if f.Pair == certdir.Client && cfg.Client.Kind == config.ClientOwn {
		cfg.Issuer = cfg.Client.Issuer
	}
	p.Certificate = certificate(cfg, r, e.Cert, f, now)
	return p
}

// describeCertificate describes host.cert; nil when it cannot be read.
func describeCertificate(cfg config.Config, r keeper.Result, now time.Time) *Certificate {
	e, f := r.Observed.Certs.Cert, plan.PairFacts{Owner: r.Plan.Facts.Owner}
	if len(e.File.Certs) == 0 {
		return nil
	}
	if all := r.Plan.Facts.Pairs; len(all) > 0 {
		f = all[0]
	}
	return certificate(cfg, r, e, f, now)
}

// certificate describes the first certificate of e, which must exist.
func certificate(cfg config.Config, r keeper.Result, e certdir.CertEntry, f plan.PairFacts,
	now time.Time) *Certificate {
	c := e.File.Certs[0]
	from, carried := originOf(cfg, r, f.Owner, c)
	due, by := f.Due, f.By
	if f.Waits {
		due, by = f.Asks, plan.DueByIssuer
	}
	return &Certificate{Path: e.Node.Path, Owner: f.Owner, Origin: from, Carried: moment(carried),
		Names:  NonNil(plan.CertNames(c)),
		Issuer: pki.OneLine(c.RawIssuer), IssuerText: pki.Readable(c.RawIssuer),
		Serial:    ca.FormatSerial(c.SerialNumber),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), DaysLeft: WholeDays(c.NotAfter, now),
		Renewal: moment(due), RenewalBy: by, Window: windowOf(f), Directory: f.Directory,
		SHA256: pki.Fingerprint(c)}
}

func describeDH(o plan.Observed) string {
	switch n := o.Certs.DH.Node; {
	case n.Err != nil:
		return "unreadable"
	case !n.Exists:
		return "missing"
	}
	d, err := dh.Read(o.Certs.DH.Node.Data)
	switch {
	case err != nil:
		return "unusable"
	case d.Name != "":
		return d.Name
	}
	return fmt.Sprintf("%d bits", d.P.BitLen())
}

// describeCRL describes the CA's lists, or the one in the certs directory where the CA is on another host.
func describeCRL(r keeper.Result) *CRL {
	o := r.Observed
	rep := CRL{Behind: o.CA.CRL.Behind, Installed: o.Certs.CRL.Node.Exists, Read: o.UsedCF().CRL != ""}
	var first *x509.RevocationList
	take := func(path string, l *x509.RevocationList) {
		if l != nil && (first == nil || l.NextUpdate.Before(first.NextUpdate)) {
			first, rep.Path = l, path
		}
	}
	for _, l := range o.CA.CRL.Lists {
		take(l.Path, l.List)
	}
	if first != nil {
		rep.Renewal = moment(o.CA.CRL.Due())
	} else if o.Certs.CRL.Node.Exists {
		for rest := o.Certs.CRL.Node.Data; ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			if l, err := x509.ParseRevocationList(b.Bytes); err == nil {
				take(o.Certs.CRL.Node.Path, l)
			}
		}
	}
	if first == nil {
		return nil
	}
	rep.ThisUpdate, rep.NextUpdate = first.ThisUpdate.UTC(), first.NextUpdate.UTC()
	return &rep
}

func describeSendmail(r keeper.Result) Sendmail {
	o, st := r.Observed, r.Plan.State
	s := Sendmail{CF: o.CF.Path, CFMissing: o.CF.Missing, NamesOurs: r.Plan.Facts.NamesOurs, PID: o.MTA.PID,
		Status: o.MTA.Status.String()}
	if d := st.Pickup; d != nil {
		s.PickupPending, s.PickupPendingSince, s.PickupPendingError = true, moment(d.Since), d.LastError
	}
	if d := st.PickedUp; d.Set == r.Plan.Facts.Set && d.Set != "" {
		s.Seen, s.SeenAt = d.How, moment(d.At)
	}
	return s
}

// NewServed describes the answers of the listeners.
func NewServed(r keeper.Result, found []mta.Served) []Served {
	var out []Served
	for _, s := range found {
		on, unread := pickup.OnDisk(&r.View, s.Leaf)
		line := Served{Addr: s.Addr, Pair: pairOf(r.Observed.Certs, s.Family), STARTTLS: s.Offered, OnDisk: on}
		if s.Leaf != nil {
			line.Serial = ca.FormatSerial(s.Leaf.SerialNumber)
		}
		if s.Err == nil && unread != nil {
			s.Err = fmt.Errorf("it serves serial %s; the certificate on disk cannot be read to compare: %w",
				line.Serial, unread)
		}
		if s.Err != nil {
			line.Error = strings.TrimPrefix(plain(s.Err), s.Addr+": ") // the address is printed before it
		}
		out = append(out, line)
	}
	return out
}

// pairOf is the name of the server pair whose key is of that family; "" where there is none, and for the family "".
func pairOf(d certdir.Dir, family string) string {
	for _, p := range certdir.Pairs() {
		cs := d.Pair(p).Cert.File.Certs
		if family != "" && p.Server() && len(cs) > 0 && pki.TypeOf(cs[0].PublicKey).Family() == family {
			return p.Name
		}
	}
	return ""
}
