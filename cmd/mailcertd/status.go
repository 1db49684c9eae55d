package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) statusCommand() *cobra.Command {
	var probe bool
	var days int
	cmd := a.jsonFlag(&cobra.Command{
		Use: "status", Args: noArgs,
		Short: "what there is, and what happens next",
		Long: `Says what lies in the certs directory, who issued it, how long it lasts, when it
is renewed, what sendmail was last seen to serve, and the TLSA record. --probe
asks sendmail now (each question leaves a line in its log). --due DAYS prints
only what needs a person within that time, and exits with 1; nothing and 0 when
all is well: what mailcertd renews in time by itself needs nobody.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 0 || days > mostDueDays {
				return usageError{errDueDays}
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, a.quiet())
			r := k.Check(cmd.Context(), plan.Wish{})
			if cmd.Flags().Changed("due") {
				return a.printDue(cmd.Context(), k, cfg, r, days, probe)
			}
			rep := describeStatus(r, time.Now())
			if cfg.Issuer.Kind == config.IssuerSSH {
				rep.Issuer = &otherCA{Target: cfg.Issuer.SSH.Target, Trusted: len(r.Observed.Accepted)}
				if at := r.Plan.State.Member.Asked; !at.IsZero() {
					rep.Issuer.Asked = &at
				}
			}
			if q := r.Plan.Ask; q != nil {
				now := time.Now().UTC()
				rep.Next, rep.NextWhat = &now, q.Text
			}
			if probe {
				for _, s := range k.Serves(cmd.Context(), r) {
					line := served{Addr: s.Addr, STARTTLS: s.Offered}
					if s.Leaf != nil {
						line.Serial = fmt.Sprintf("%02X", s.Leaf.SerialNumber)
						line.OnDisk = plan.LeafID(s.Leaf) == r.Plan.Facts.LeafID
					}
					if s.Err != nil {
						line.Error = s.Err.Error()
					}
					rep.Serves = append(rep.Serves, line)
				}
			}
			if a.json {
				return a.printJSON(rep)
			}
			a.printStatus(rep)
			return nil
		},
	})
	cmd.Flags().BoolVar(&probe, "probe", false, "ask sendmail what it serves now")
	cmd.Flags().IntVar(&days, "due", 0, "only what needs a person within `days`; the exit status is 1 then")
	return cmd
}

// statusReport is `status --json`, version 1. Times are UTC, RFC 3339.
type statusReport struct {
	Version     int            `json:"version"`
	Name        string         `json:"name"`
	Offered     bool           `json:"starttls_offered"` // by sendmail's rules, with what lies there
	Certificate *certificate   `json:"certificate"`
	Key         string         `json:"key,omitempty"`
	TLSA        string         `json:"tlsa,omitempty"` // RFC 7672: 3 1 1 …
	Trust       []string       `json:"trust"`          // subjects in cacert.pem
	DH          string         `json:"dh"`
	CA          caReport       `json:"ca"`
	Issuer      *otherCA       `json:"issuer,omitempty"` // the CA on another host
	Sendmail    sendmailInfo   `json:"sendmail"`
	Serves      []served       `json:"serves,omitempty"`
	Problems    []plan.Problem `json:"problems"`
	Next        *time.Time     `json:"next,omitempty"`
	NextWhat    string         `json:"next_what,omitempty"`
	Deliveries  []delivery     `json:"deliveries"`
}

type otherCA struct {
	Target  string     `json:"target"`
	Trusted int        `json:"trusted"`         // CA generations that are trusted here
	Asked   *time.Time `json:"asked,omitempty"` // when it last answered
}

type certificate struct {
	Path      string     `json:"path"`
	Owner     plan.Owner `json:"owner"`
	Names     []string   `json:"names"`
	Issuer    string     `json:"issuer"`
	Serial    string     `json:"serial"`
	NotBefore time.Time  `json:"not_before"`
	NotAfter  time.Time  `json:"not_after"`
	DaysLeft  int        `json:"days_left"` // full days; negative after the end
	Renewal   *time.Time `json:"renewal,omitempty"`
	SHA256    string     `json:"sha256"`
}

type sendmailInfo struct {
	CF        string     `json:"cf"`
	CFMissing bool       `json:"cf_missing"`
	NamesOurs bool       `json:"names_our_files"`
	PID       int        `json:"pid,omitempty"`
	Status    string     `json:"status"`
	Owed      bool       `json:"pickup_owed"`
	Seen      string     `json:"seen,omitempty"` // how the files on disk came into use
	SeenAt    *time.Time `json:"seen_at,omitempty"`
}

type served struct {
	Addr     string `json:"addr"`
	STARTTLS bool   `json:"starttls"`
	Serial   string `json:"serial,omitempty"`
	OnDisk   bool   `json:"on_disk"` // it is the certificate that lies on the disk
	Error    string `json:"error,omitempty"`
}

type delivery struct {
	At     time.Time `json:"at"`
	Serial string    `json:"serial,omitempty"`
	Result string    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}

func describeStatus(r keeper.Result, now time.Time) statusReport {
	o, p := r.Observed, r.Plan
	rep := statusReport{Version: 1, Name: p.Facts.Name, Offered: p.Facts.Offered, Trust: []string{}, CA: describeCA(o.CA, now),
		Problems: nonNil(p.Problems), Deliveries: []delivery{}, DH: "missing"}
	rep.CA.Dir = o.CA.Dir.Path
	if cs := o.Certs.Cert.File.Certs; len(cs) > 0 {
		c := cs[0]
		rep.Certificate = &certificate{Path: o.Certs.Cert.Node.Path, Owner: p.Facts.Owner, Names: plan.CertNames(c), Issuer: pki.OneLine(c.RawIssuer),
			Serial: fmt.Sprintf("%02X", c.SerialNumber), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
			DaysLeft: int(c.NotAfter.Sub(now).Hours() / 24), SHA256: p.Facts.LeafID}
		if !p.Facts.Due.IsZero() {
			due := p.Facts.Due.UTC()
			rep.Certificate.Renewal = &due
		}
		rep.TLSA = "3 1 1 " + plan.PublicID(c.PublicKey)
	}
	if k := o.Certs.Key.Key; k.Public != nil {
		rep.Key = string(k.Type)
	}
	for _, c := range o.Certs.CA.File.Certs {
		rep.Trust = append(rep.Trust, pki.OneLine(c.RawSubject))
	}
	if o.Certs.DH.Node.Exists {
		rep.DH = "unusable"
		if d, err := dh.Read(o.Certs.DH.Node.Data); err == nil {
			rep.DH = fmt.Sprintf("%d bits", d.P.BitLen())
			if d.Name != "" {
				rep.DH = d.Name
			}
		}
	}
	st := p.State
	rep.Sendmail = sendmailInfo{CF: o.CF.Path, CFMissing: o.CF.Missing, NamesOurs: p.Facts.NamesOurs, PID: o.MTA.PID, Status: o.MTA.Status.String(), Owed: st.Debt != nil}
	if d := st.Delivered; d.Set == p.Facts.Set && d.Set != "" {
		rep.Sendmail.Seen = d.How
		at := d.At.UTC()
		rep.Sendmail.SeenAt = &at
	}
	if !p.Next.IsZero() {
		n := p.Next.UTC()
		rep.Next, rep.NextWhat = &n, p.NextWhat
	}
	for _, d := range st.Deliveries {
		rep.Deliveries = append(rep.Deliveries, delivery{At: d.At.UTC(), Serial: d.Serial, Result: d.Result, Detail: d.Detail})
	}
	return rep
}

func (a *app) printStatus(r statusReport) {
	row := func(label, format string, args ...any) {
		fmt.Fprintf(a.out, "%-13s %s\n", label, fmt.Sprintf(format, args...))
	}
	row("host", "%s", or(r.Name, "no usable name"))
	if c := r.Certificate; c != nil {
		row("certificate", "serial %s for %s (%s)", c.Serial, strings.Join(c.Names, ", "), c.Owner)
		row("", "issued by %s", c.Issuer)
		row("", "%s to %s, %s", c.NotBefore.Local().Format("2006-01-02"), c.NotAfter.Local().Format("2006-01-02"), daysLeft(c.DaysLeft))
		if c.Renewal != nil {
			row("renewal", "%s", c.Renewal.Local().Format("2006-01-02"))
		} else {
			row("renewal", "not by mailcertd")
		}
		row("TLSA", "%s", r.TLSA)
	} else {
		row("certificate", "none")
	}
	row("key", "%s", or(r.Key, "none"))
	row("trust", "%s", or(strings.Join(r.Trust, "; "), "nothing"))
	row("dh.param", "%s", r.DH)
	ca0 := r.CA.Status
	if ca0 == ca.Complete.String() && len(r.CA.Generations) > 0 {
		ca0 = fmt.Sprintf("%s, until %s, %d valid certificate(s)", r.CA.Generations[0].Subject, r.CA.Generations[0].NotAfter.Local().Format("2006-01-02"), r.CA.Valid)
	}
	if o := r.Issuer; o != nil {
		ca0 = "on another host, " + o.Target
		if o.Asked != nil {
			ca0 += fmt.Sprintf("; answered %s, %d generation(s) trusted", o.Asked.Local().Format("2006-01-02 15:04"), o.Trusted)
		} else {
			ca0 += "; has not answered yet"
		}
	}
	row("CA", "%s", ca0)
	s := r.Sendmail
	state := s.Status
	switch {
	case s.CFMissing:
		state += "; there is no " + s.CF
	case !s.NamesOurs:
		state += "; its sendmail.cf does not name these files"
	case s.Owed:
		state += "; has not yet taken over the files on disk"
	case s.Seen == plan.Proven:
		state += fmt.Sprintf("; seen to serve this certificate on %s", s.SeenAt.Local().Format("2006-01-02 15:04"))
	case s.Seen == plan.StartedLater:
		state += "; started after the last change"
	}
	row("sendmail", "%s", state)
	for _, v := range r.Serves {
		switch {
		case v.Error != "":
			row("serves", "%s: %s", v.Addr, v.Error)
		case !v.STARTTLS:
			row("serves", "%s: no STARTTLS", v.Addr)
		case v.OnDisk:
			row("serves", "%s: serial %s, as on disk", v.Addr, v.Serial)
		default:
			row("serves", "%s: serial %s, another than on disk", v.Addr, v.Serial)
		}
	}
	if n := len(r.Deliveries); n > 0 {
		d := r.Deliveries[n-1]
		row("last step", "%s %s %s", d.At.Local().Format("2006-01-02 15:04"), d.Result, d.Detail)
	}
	if r.Next != nil {
		row("next step", "%s: %s", r.Next.Local().Format("2006-01-02 15:04"), r.NextWhat)
	}
	for _, p := range r.Problems {
		row(p.Severity.String(), "%s: %s", or(p.Path, string(p.Reason)), p.Text)
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func daysLeft(n int) string {
	switch {
	case n < 0:
		return "expired"
	case n == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", n)
}
