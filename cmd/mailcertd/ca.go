package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) caCommand() *cobra.Command {
	cmd := &cobra.Command{
		SuggestionsMinimumDistance: 2,
		Use:                        "ca", Short: "the private CA: init, show, rollover, enrol, unenrol, forget",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				meant := ":"
				if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
					meant = fmt.Sprintf("; did you mean %q?", s[0])
				}
				return usageError{fmt.Errorf("unknown verb %q%s want init, show, rollover, enrol, unenrol or forget", "ca "+args[0], meant)}
			}
			return usageError{fmt.Errorf("say what: `mailcertd ca show`, or init, rollover, enrol, unenrol, forget; see `mailcertd help ca`")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(a.caInitCommand(), a.jsonFlag(&cobra.Command{
		Use: "show", Args: noArgs, Short: "describe the CA, its generations and its hosts",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showCA(cmd.Context()) },
	}), a.rolloverCommand(), a.enrolCommand(), a.unenrolCommand(true), a.unenrolCommand(false))
	return cmd
}

func (a *app) caInitCommand() *cobra.Command {
	var encrypt bool
	cmd := a.dryRunFlag(&cobra.Command{
		Use: "init", Args: noArgs, Short: "create the CA, or adopt the one that is there",
		Long: `Makes the CA in ca.dir, or takes over one that openssl made there: no file is
rewritten that needs no change. With --encrypt the new key gets a passphrase,
which protects copies of the directory; whoever is root here while it is used
can have the key all the same.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if encrypt {
				return a.initEncrypted(cmd.Context())
			}
			if err := a.settle(cmd.Context(), func(*keeper.Keeper, context.Context) plan.Wish { return plan.Wish{MakeCA: true} }); err != nil || a.dryRun {
				return err
			}
			return a.showCA(cmd.Context())
		},
	})
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "protect the new key with a passphrase, asked for twice (or ca.passphrase_file)")
	return cmd
}

// initEncrypted makes a CA whose key has a passphrase from the beginning.
func (a *app) initEncrypted(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	k := a.keeper(cfg, a.quiet())
	r := k.Check(ctx, plan.Wish{})
	if s := r.Observed.CA.Status; s != ca.Absent {
		return fmt.Errorf("%s: the CA is there already (%s): --encrypt is for a new one; `openssl pkcs8 -topk8 -v2 aes-256-cbc` encrypts a key", cfg.CA.Dir, s)
	}
	if a.dryRun {
		fmt.Fprintf(a.out, "would make the private CA in %s, its key with a passphrase\n", cfg.CA.Dir)
		return nil
	}
	secret, err := k.ConfiguredPassphrase()
	if err != nil {
		return fmt.Errorf("ca.passphrase_file: %s %w", cfg.CA.PassphraseFile, err)
	}
	if secret == nil {
		if secret, err = a.newPassphrase("the CA's key"); err != nil {
			return err
		}
	}
	k.SetPassphrase(secret)
	res, err := k.Settle(ctx, plan.Wish{Once: true, MakeCA: true})
	a.printDone(res)
	if err != nil {
		return err
	}
	return a.showCA(ctx)
}

func (a *app) rolloverCommand() *cobra.Command {
	var now bool
	cmd := a.dryRunFlag(&cobra.Command{
		Use: "rollover", Args: noArgs, Short: "start the CA's next generation",
		Long: `Makes a new key under the same subject, cross-signed by the present one. Every
enrolled host gets it when it next asks, within a day; certificates come from
the new one when all of them trust it, or when the present one has no more than
one certificate's lifetime left. The old one stays trusted until its last
certificate has expired. It may be run again at any time; "mailcertd ca show"
says how far it is.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.office(cmd.Context(), toRule)
			if err != nil {
				return err
			}
			wish := plan.Wish{Once: true, Rollover: true, RolloverFrom: ca.Fingerprint(o.obs.CA.Current.Cert), Promote: now}
			if a.dryRun {
				a.printPlan(o.k.Check(cmd.Context(), wish))
				return nil
			}
			r, err := o.k.Settle(cmd.Context(), wish)
			a.printDone(r)
			if err != nil {
				return err
			}
			own, _ := plan.HostName(o.cfg, o.obs.Host)
			if hosts := byHand(o.obs.CA, own, time.Now()); len(hosts) > 0 {
				fmt.Fprintf(a.out, "not enrolled, so that they must get the new CA by hand (`mailcertd sign` or `issue` has it): %s\n", strings.Join(hosts, ", "))
			}
			return a.showCA(cmd.Context())
		},
	})
	cmd.Flags().BoolVar(&now, "now", false, "put the next generation in force at once, whoever does not trust it yet")
	return cmd
}

// byHand are the hosts with a valid certificate that do not ask for theirs.
func byHand(o ca.Observed, own string, now time.Time) []string {
	var out []string
	for _, l := range ca.List(o, now) {
		if l.Status == "valid" && len(l.Names) > 0 && l.Names[0] != own && ca.Find(o.Members, l.Names[0]) == nil && !contains(out, l.Names[0]) {
			out = append(out, l.Names[0])
		}
	}
	return out
}

// caReport is `ca show --json`, version 1.
type caReport struct {
	Version     int            `json:"version"`
	Dir         string         `json:"dir"`
	Status      string         `json:"status"`          // absent, unfinished, complete, damaged
	Error       string         `json:"error,omitempty"` // why it cannot be looked at; the rest is empty then
	Generations []caGeneration `json:"generations"`
	NextSerial  string         `json:"next_serial,omitempty"` // hex: what openssl ca takes next where it counts; mailcertd draws
	Valid       int            `json:"valid"`                 // certificates by status in index.txt
	Revoked     int            `json:"revoked"`
	Expired     int            `json:"expired"`
	NextDue     *time.Time     `json:"next_generation_due,omitempty"`
	Faults      []string       `json:"faults"`
	Hosts       []caHost       `json:"hosts"`   // the enrolled ones
	Waiting     []string       `json:"waiting"` // hosts that hold up the next generation
	Silent      []string       `json:"silent"`  // hosts that are passed over: not heard of for 30 days
	Deadline    *time.Time     `json:"next_generation_deadline,omitempty"`
	CRLEnds     *time.Time     `json:"crl_ends,omitempty"`
	Issuer      string         `json:"access_issuer,omitempty"`  // the key for an access map
	Subject     string         `json:"access_subject,omitempty"` // of this host's certificate
}

type caHost struct {
	Name    string     `json:"name"`
	Enroled time.Time  `json:"enrolled"`
	Seen    *time.Time `json:"seen,omitempty"`
}

type caGeneration struct {
	Current   bool      `json:"current"`
	Next      bool      `json:"next"` // waits to be put in force
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`      // as in sendmail's CERTIssuer:
	Text      string    `json:"subject_text"` // the same in characters
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// LastLeaf is when the last certificate of an older generation ends.
	LastLeaf  *time.Time `json:"last_certificate_ends,omitempty"`
	Key       string     `json:"key"`
	Encrypted bool       `json:"encrypted"`
	Hash      string     `json:"hash"` // OpenSSL's subject hash
}

func (a *app) showCA(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	r := a.keeper(cfg, a.quiet()).Check(ctx, plan.Wish{})
	now := time.Now()
	rep := describeCA(cfg, r.Observed.CA, now)
	if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
		rep.Subject = "CERTSubject:" + mta.AccessKey(pki.OneLine(cs[0].RawSubject))
	}
	if a.json {
		return a.printJSON(rep)
	}
	page := a.newPage(now)
	caPage(rep, len(cfg.Trust) > 0, page)
	if err := page.writeTo(a.out); err != nil {
		return err
	}
	if rep.Status != ca.Complete.String() {
		return errTodo
	}
	return nil
}

func describeCA(cfg config.Config, o ca.Observed, now time.Time) caReport {
	rep := caReport{Version: 1, Dir: cfg.CA.Dir, Status: o.Status.String(), Generations: []caGeneration{}, Faults: []string{}, Hosts: []caHost{}}
	if o.Err != nil {
		rep.Error = o.Err.Error()
	}
	for _, m := range o.Members {
		h := caHost{Name: m.Name, Enroled: m.Enrolled}
		if !m.Seen.IsZero() {
			h.Seen = &m.Seen
		}
		rep.Hosts = append(rep.Hosts, h)
	}
	waiting, silent := o.Waiting(now)
	rep.Waiting, rep.Silent = nonNil(waiting), nonNil(silent)
	if end := o.CRL.Ends(); !end.IsZero() {
		rep.CRLEnds = &end
	}
	if c := o.Current.Cert; c != nil {
		rep.Issuer = "CERTIssuer:" + mta.AccessKey(pki.OneLine(c.RawSubject))
	}
	if o.HasNext() && o.Current.Cert != nil {
		rep.Deadline = moment(plan.PromoteDeadline(o.Current.Cert.NotAfter, cfg.Validity.Days))
	}
	for i, g := range append([]ca.Generation{o.Current, o.Next}, o.Older...) {
		if g.Cert == nil {
			continue
		}
		d := caGeneration{Current: i == 0, Next: i == 1, SHA256: ca.Fingerprint(g.Cert), Subject: pki.OneLine(g.Cert.RawSubject), Text: pki.Readable(g.Cert.RawSubject), LastLeaf: moment(g.LastLeaf), NotBefore: g.Cert.NotBefore.UTC(), NotAfter: g.Cert.NotAfter.UTC(),
			Key: string(pki.TypeOf(g.Cert.PublicKey)), Hash: pki.HashName(g.Cert.RawSubject, 0), Encrypted: g.Locked}
		if i == 0 {
			due := plan.GenerationDue(g.Cert.NotBefore, g.Cert.NotAfter).UTC()
			rep.NextDue = &due
		}
		rep.Generations = append(rep.Generations, d)
	}
	if o.Serial != nil {
		rep.NextSerial = ca.FormatSerial(o.Serial)
	}
	for _, e := range o.Index {
		switch {
		case e.Err != nil: // no certificate can be told from it
		case e.Status == 'R':
			rep.Revoked++
		case e.Status == 'E' || e.Expires.Before(now):
			rep.Expired++
		case e.Status == 'V':
			rep.Valid++
		}
	}
	for _, f := range o.Faults {
		rep.Faults = append(rep.Faults, fmt.Sprintf("%s: %s", f.Path, f.Kind))
	}
	return rep
}
