package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
	"mailcertd/internal/keeper"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// describeStatus puts what was observed and planned into the report. It asks nobody.
func describeStatus(cfg config.Config, r keeper.Result, now time.Time) statusReport {
	o, p := r.Observed, r.Plan
	rep := statusReport{Version: 1, At: now.UTC().Truncate(time.Second), Program: version, Name: p.Facts.Name, Offered: p.Facts.Offered,
		Certificate: describeCertificate(cfg, r, now), Trust: []string{}, Trusted: []trusted{}, DH: describeDH(o),
		IssuerKind: string(cfg.Issuer.Kind), CA: describeCA(cfg, o.CA, now), CRL: describeCRL(r),
		Sendmail: describeSendmail(r), Problems: nonNil(p.Problems), Deliveries: []delivery{}}
	if cs := o.Certs.Cert.File.Certs; len(cs) > 0 {
		rep.TLSA = "3 1 1 " + plan.PublicID(cs[0].PublicKey)
	}
	if k := o.Certs.Key.Key; k.Public != nil {
		rep.Key = string(k.Type)
	}
	for _, c := range o.Certs.CA.File.Certs {
		rep.Trust = append(rep.Trust, pki.OneLine(c.RawSubject))
		rep.Trusted = append(rep.Trusted, trusted{Subject: pki.OneLine(c.RawSubject), Text: pki.Readable(c.RawSubject),
			NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), SHA256: ca.Fingerprint(c)})
	}
	if o.CA.Status != ca.Absent {
		rep.Issued = &issuedReport{Valid: rep.CA.Valid, Expired: rep.CA.Expired, Revoked: rep.CA.Revoked, NextDue: []listed{}}
		for _, l := range ca.NextDue(o.CA, now, mostNextDue) {
			rep.Issued.NextDue = append(rep.Issued.NextDue, describeListed(o.CA, l, now))
		}
	}
	if cfg.Issuer.Kind == config.IssuerSSH {
		rep.Issuer = &otherCA{Target: cfg.Issuer.SSH.Target, Trusted: len(o.Accepted), Asked: moment(p.State.Member.Asked)}
	}
	if rep.Next = moment(p.Next); rep.Next != nil {
		rep.NextWhat = p.NextWhat
	}
	if q := p.Ask; q != nil {
		rep.Next, rep.NextWhat = moment(now.Truncate(time.Second)), q.Text
	}
	for _, d := range p.State.Deliveries {
		rep.Deliveries = append(rep.Deliveries, delivery{At: d.At.UTC(), Serial: d.Serial, Result: d.Result, Detail: d.Detail})
	}
	return rep
}

// moment is a time that may not be known; nil for zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func describeCertificate(cfg config.Config, r keeper.Result, now time.Time) *certificate {
	cs := r.Observed.Certs.Cert.File.Certs
	if len(cs) == 0 {
		return nil
	}
	c, f := cs[0], r.Plan.Facts
	from, carried := originOf(cfg, r, c)
	return &certificate{Path: r.Observed.Certs.Cert.Node.Path, Owner: f.Owner, Origin: from, Carried: moment(carried), Names: nonNil(plan.CertNames(c)),
		Issuer: pki.OneLine(c.RawIssuer), IssuerText: pki.Readable(c.RawIssuer), Serial: ca.FormatSerial(c.SerialNumber),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), DaysLeft: wholeDays(c.NotAfter, now),
		Renewal: moment(f.Due), SHA256: plan.LeafID(c)}
}

func describeDH(o plan.Observed) string {
	if !o.Certs.DH.Node.Exists {
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

// describeCRL is about the CA's lists, or about the one that lies in the certs
// directory where the CA is on another host.
func describeCRL(r keeper.Result) *crlReport {
	o := r.Observed
	rep := crlReport{Behind: o.CA.CRL.Behind, Installed: o.Certs.CRL.Node.Exists, Read: o.CF.CRL != ""}
	if o.RunningCF != nil {
		rep.Read = o.RunningCF.CRL != ""
	}
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

func describeSendmail(r keeper.Result) sendmailInfo {
	o, st := r.Observed, r.Plan.State
	s := sendmailInfo{CF: o.CF.Path, CFMissing: o.CF.Missing, NamesOurs: r.Plan.Facts.NamesOurs, PID: o.MTA.PID, Status: o.MTA.Status.String()}
	if d := st.Debt; d != nil {
		s.Owed, s.OwedSince, s.OwedError = true, moment(d.Since), d.LastError
	}
	if d := st.Delivered; d.Set == r.Plan.Facts.Set && d.Set != "" {
		s.Seen, s.SeenAt = d.How, moment(d.At)
	}
	return s
}

// describeServed is what was found by asking.
func describeServed(r keeper.Result, found []mta.Served) []served {
	var out []served
	for _, s := range found {
		line := served{Addr: s.Addr, STARTTLS: s.Offered, OnDisk: keeper.OnDisk(&r, s.Leaf)}
		if s.Leaf != nil {
			line.Serial = ca.FormatSerial(s.Leaf.SerialNumber)
		}
		if s.Err != nil {
			line.Error = s.Err.Error()
		}
		out = append(out, line)
	}
	return out
}
