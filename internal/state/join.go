package state

import "maps"

// Join is what was remembered while the file could not be read, put on top of
// what the file turns out to say: of both there may be something that the other
// does not know.
func Join(file, since State) State {
	out := file.Clone()
	if since.HighWater.After(out.HighWater) {
		out.HighWater = since.HighWater
	}
	if since.CA != "" {
		out.CA = since.CA
	}
	if out.Ours == nil && len(since.Ours) > 0 {
		out.Ours = map[string]Ours{}
	}
	maps.Copy(out.Ours, since.Ours)
	if since.Delivered.At.After(out.Delivered.At) {
		out.Delivered = since.Delivered
	}
	if since.Debt != nil {
		out.Debt = since.Clone().Debt
	}
	if since.Hold != "" {
		out.Hold = since.Hold
	}
	if since.Carried.Since.After(out.Carried.Since) {
		out.Carried = since.Carried
	}
	out.OldKeys = append(out.OldKeys, since.OldKeys...)
	out.Deliveries = append(out.Deliveries, since.Deliveries...)
	if since.DH.Group != "" {
		out.DH = since.DH
	}
	if since.Member.Asked.After(out.Member.Asked) || since.Member.At.After(out.Member.At) {
		out.Member = since.Member
	}
	return out
}
