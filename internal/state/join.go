package state

import (
	"maps"
	"slices"
)

// Join merges the state in the file, which could not be read for a while, with the state that was collected since. Each
// may know something that the other does not.
func Join(file, since State) State {
	out, since := file.Clone(), since.Clone()
	if since.HighWater.After(out.HighWater) {
		out.HighWater = since.HighWater
	}
	if since.Clock.Doubt != "" && since.Clock.Lasted > out.Clock.Lasted {
		out.Clock = since.Clock
	}
	if since.CA != "" {
		out.CA = since.CA
	}
	out.Ours = over(out.Ours, since.Ours)
	if since.PickedUp.At.After(out.PickedUp.At) {
		out.PickedUp = since.PickedUp
	}
	if d := out.Pickup; since.Pickup != nil {
		out.Pickup = since.Pickup
		// else: the pickup in the file was proven meanwhile
	} else if d != nil && since.PickedUp.Set == d.Set && !since.PickedUp.At.Before(d.Since) {
		out.Pickup = nil
	}
	for line, set := range since.Notified {
		if d := out.Notify[line]; d != nil && d.Set == set {
			delete(out.Notify, line) // the command has run meanwhile
		}
	}
	out.Notify, out.Notified = over(out.Notify, since.Notify), over(out.Notified, since.Notified)
	for what, f := range since.Failures {
		if was, both := out.Failures[what]; both { // both belong to one series
			f.First = was.First
			f.Count += was.Count
			since.Failures[what] = f
		}
	}
	out.Failures = over(out.Failures, since.Failures)
	if since.Name.Name != "" && since.Name.Name != out.Name.Name { // for the same name the file has the earlier time
		out.Name = since.Name
	}
	if since.Mismatch.Digest != "" && since.Mismatch.Digest != out.Mismatch.Digest {
		out.Mismatch = since.Mismatch
	}
	for line, d := range since.Clone().Notify {
		if out.Notify == nil {
			out.Notify = map[string]*NotifyPending{}
		}
		out.Notify[line] = d
	}
	for line, set := range since.Notified {
		if _, known := out.Notified[line]; !known {
			if out.Notified == nil {
				out.Notified = map[string]string{}
			}
			out.Notified[line] = set
		}
	}
	out.DANE = out.DANE.Newer(since.DANE)
	if since.Hold != "" {
		out.Hold = since.Hold
	}
	if since.Carried.Since.After(out.Carried.Since) {
		out.Carried = since.Carried
	}
	for _, k := range since.OldKeys {
		if i := slices.IndexFunc(out.OldKeys,
			func(o OldKey) bool { return o.Backup == k.Backup && o.Name == k.Name }); i < 0 {
			out.OldKeys = append(out.OldKeys, k)
		} else if out.OldKeys[i].After.IsZero() {
			out.OldKeys[i].After = k.After
		}
	}
	out.Pickups = append(out.Pickups, since.Pickups...)
	if since.DH.Group != "" {
		out.DH = since.DH
	}
	if since.Member.Asked.After(out.Member.Asked) || since.Member.At.After(out.Member.At) {
		out.Member = since.Member
	}
	out.ACME = over(out.ACME, since.ACME)
	for name, p := range since.Pairs {
		was := out.Pairs[name]
		if p.Mismatch.Digest == was.Mismatch.Digest { // the file has the earlier time
			p.Mismatch = was.Mismatch
		}
		if p.Hold == "" {
			p.Hold = was.Hold
		}
		if was.At.After(p.At) {
			p.Key, p.At = was.Key, was.At
		}
		out.SetPair(name, p)
	}
	return out
}

// over is base with the entries of more, which replace those of base.
func over[V any](base, more map[string]V) map[string]V {
	if base == nil {
		return more
	}
	maps.Copy(base, more)
	return base
}
