package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
	"mailcertd/internal/plan"
)

// localCA is the CA of this host, for the verbs with which a person signs and revokes.
type localCA struct {
	*console
	disk *durable.Disk
	cfg  config.Config
	k    *keeper.Keeper
	obs  plan.Observed // the state of the CA when the verb began
	opts ca.Options    // with the passphrase of the key, if it has one
	at   time.Time     // the time with which signatures are made
	// seen is the time by which certificates count as expired. While the clock is doubted, seen may be earlier than at,
	// because a certificate that has expired by a wrong clock may still be valid.
	seen time.Time
}

// need says how much of the CA a verb needs. To read less is faster, and the passphrase is asked for only when the key
// is used.
type need int

const (
	toLook need = iota // the CA directory
	toSee              // the CA directory, and everything else that is observed on this host
	toSign             // the CA directory and the CA's key
	toRule             // the CA directory, the CA's key, and everything else on this host
)

var errNoCA = errors.New("there is no CA on this host")

// localCA reads the CA. It returns an error if the CA is not complete. If n needs the key, it asks for the passphrase.
// asking names the hosts for which something will be signed.
func (a *app) localCA(ctx context.Context, n need, asking ...string) (*localCA, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	k := a.keeper(cfg, quiet(a.logLevel, a.err))
	var obs plan.Observed
	if n == toRule || n == toSee {
		obs = k.Check(ctx, plan.Wish{}).Observed
	} else {
		obs = k.CA.Observe(asking...)
	}
	o := obs.CA
	switch unread := o.Unread(); {
	case unread != nil: // it would be a guess to say what is missing
		return nil, unread
	case o.Status == ca.Absent:
		return nil, fmt.Errorf("%s: %w: create one with `mailcertd ca init`", cfg.CA.Dir, errNoCA)
	case o.Status != ca.Complete:
		for _, f := range o.Faults {
			if !f.Repairable && f.Got != "" {
				return nil, fmt.Errorf("%s: the CA is %s: %s: %s: %s", cfg.CA.Dir, o.Status, filepath.Base(f.Path),
					f.Kind, f.Got)
			}
		}
		return nil, fmt.Errorf("%s: the CA is %s: run `mailcertd check` to see why", cfg.CA.Dir, o.Status)
	}
	out := &localCA{console: &a.console, disk: a.disk, cfg: cfg, k: k, obs: obs, at: wallClock()}
	out.seen = out.at
	if n == toSign || n == toRule {
		if err := a.unlock(k, obs); err != nil {
			return nil, err
		}
	}
	out.opts = k.CA.Options(obs)
	if n == toSign || n == toRule {
		s := plan.SigningTime(cfg, obs, out.at)
		if s.Doubt != nil && n == toSign { // how long a clock is doubted depends on the installed files
			s = plan.SigningTime(cfg, k.Check(ctx, plan.Wish{}).Observed, out.at)
		}
		// The daemon would wait; here a person decides.
		if out.at, out.opts.Backdate = s.At, s.Backdate; s.Doubt != nil {
			out.seen = s.At.Add(-s.Backdate)
			fmt.Fprintf(a.err, "warning: %s\n  hint: a certificate that you sign now becomes valid on %s; %s\n",
				page.Clean(page.ProblemText(*s.Doubt)),
				s.At.Add(-s.Backdate).Local().Format("2006-01-02 15:04"), page.Clean(s.Doubt.Hint))
		}
	}
	return out, nil
}

// unlock asks for the passphrase of the CA's key if the key has one and the configuration does not contain it.
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
