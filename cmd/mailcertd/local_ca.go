package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
	"mailcertd/internal/plan"
)

// localCA is the CA of this host, for the verbs that use it.
type localCA struct {
	cfg  config.Config
	k    *keeper.Keeper
	obs  plan.Observed
	opts ca.Options
	at   time.Time // by which it signs
	seen time.Time // by which something is still valid: what a doubted clock calls over may not be
}

// What a verb needs of the CA.
type need int

const (
	toLook need = iota // the CA alone
	toSee              // and everything else that is to be seen on this host
	toSign             // the CA and its key
	toRule             // all of that
)

// localCA opens it: complete, its key at hand when it is needed. asking are the hosts for which something will be
// signed.
func (a *app) localCA(ctx context.Context, n need, asking ...string) (*localCA, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	k := a.keeper(cfg, a.quiet())
	var obs plan.Observed
	if n == toRule || n == toSee {
		obs = k.Check(ctx, plan.Wish{}).Observed
	} else {
		obs = k.CA.Observe(asking...)
	}
	o := obs.CA
	switch unread := o.Unread(); {
	case unread != nil: // what is missing in it would be a guess
		return nil, unread
	case o.Status == ca.Absent:
		return nil, fmt.Errorf("%s: there is no CA on this host: create one with `mailcertd ca init`", cfg.CA.Dir)
	case o.Status != ca.Complete:
		for _, f := range o.Faults {
			if !f.Repairable && f.Got != "" {
				return nil, fmt.Errorf("%s: the CA is %s: %s: %s: %s", cfg.CA.Dir, o.Status, filepath.Base(f.Path),
					f.Kind, f.Got)
			}
		}
		return nil, fmt.Errorf("%s: the CA is %s: run `mailcertd check` to see why", cfg.CA.Dir, o.Status)
	}
	out := &localCA{cfg: cfg, k: k, obs: obs, at: wallClock()}
	out.seen = out.at
	if n == toSign || n == toRule {
		if err := a.unlock(k, obs); err != nil {
			return nil, err
		}
	}
	out.opts = k.CA.Options(obs)
	if n == toSign || n == toRule {
		s := plan.SigningTime(cfg, obs, out.at)
		if s.Doubt != nil && n == toSign { // how long it is doubted depends on what is there
			s = plan.SigningTime(cfg, k.Check(ctx, plan.Wish{}).Observed, out.at)
		}
		if out.at, out.opts.Backdate = s.At, s.Backdate; s.Doubt != nil { // a person decides, the daemon waits
			out.seen = s.At.Add(-s.Backdate)
			fmt.Fprintf(a.err, "warning: %s\n  hint: a certificate that you sign now becomes valid on %s; %s\n",
				page.Clean(page.ProblemText(*s.Doubt)),
				s.At.Add(-s.Backdate).Local().Format("2006-01-02 15:04"), page.Clean(s.Doubt.Hint))
		}
	}
	return out, nil
}

// unlock asks for the CA key's passphrase where it has one and the
// configuration has none.
func (c *console) unlock(k *keeper.Keeper, o plan.Observed) error {
	if o.CA.Status != ca.Complete || !o.CA.KeyInfo.Encrypted || o.Passphrase.Ready {
		return nil
	}
	secret, err := c.askUntil("Passphrase of "+o.CA.Key.Path, k.CA.Unlocks)
	if errors.Is(err, errNoTerminal) {
		hint := "set ca.passphrase_file, or run this on a terminal"
		if o.Passphrase.Problem != "" {
			return fmt.Errorf("the CA cannot sign: %s (ca.passphrase_file): %s", o.Passphrase.Path,
				o.Passphrase.Problem)
		}
		return fmt.Errorf("%s: %w: %s", o.CA.Key.Path, ca.ErrLocked, hint)
	} else if err != nil {
		return err
	}
	k.CA.SetPassphrase(secret)
	return nil
}
