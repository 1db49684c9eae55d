package certdir

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"sort"

	"mailcertd/internal/durable"
)

// LinkChange is one change of a hash link.
type LinkChange struct {
	Name   string
	Target string // the text of the new link; "": the entry is removed
	Why    string // what is wrong with the present entry
	// Foreign says that the entry which is replaced or removed was not made by mailcertd: a dangling link, or one that
	// moves down into a gap.
	Foreign bool
}

// Links returns the changes after which OpenSSL finds every wanted certificate by its subject hash; none: the links are
// correct. want maps a target within the directory (cacert.pem, trust/x.pem) to the certificates in it. OpenSSL reads
// HASH.0, HASH.1 and so on up to the first gap (X509_LOOKUP_hash_dir(3)), and takes every certificate of each file, so
// one link for each target and hash is enough.
//
// Correct links and the files of others keep their numbers as long as there is no gap; the last entry moves into a gap.
// Removed are: dangling links, at which OpenSSL's search ends; links to a FIFO or a device, on which OpenSSL waits for
// ever; our links with a wrong target; and files that OpenSSL cannot load.
func Links(have []Link, want map[string][]*x509.Certificate) []LinkChange {
	wanted := map[uint32][]string{} // hash → targets
	targets := make([]string, 0, len(want))
	for t := range want {
		targets = append(targets, t)
	}
	sort.Strings(targets)
	for _, t := range targets {
		for _, h := range subjectHashes(want[t]) {
			wanted[h] = append(wanted[h], t)
		}
	}
	byHash := map[uint32][]*Link{}
	var hashes []uint32
	for i := range have {
		h := have[i].Hash
		if byHash[h] == nil {
			hashes = append(hashes, h)
		}
		byHash[h] = append(byHash[h], &have[i])
	}
	for h := range wanted {
		if byHash[h] == nil {
			hashes = append(hashes, h)
		}
	}
	slices.Sort(hashes)
	var out []LinkChange
	for _, h := range hashes {
		out = append(out, run(h, byHash[h], wanted[h])...)
	}
	return out
}

// run returns the changes for the entries of one hash.
func run(hash uint32, have []*Link, targets []string) []LinkChange {
	if slices.ContainsFunc(have, func(l *Link) bool { return l.Unknown() }) {
		return nil // it may be the link that is wanted: a change could make it twice or remove it
	}
	missing := map[string]bool{}
	for _, t := range targets {
		missing[t] = true
	}
	sort.Slice(have, func(i, j int) bool { return have[i].N < have[j].N })
	var keep []*Link          // links that stay, perhaps with another number
	blocked := map[int]bool{} // numbers that a foreign file or directory takes
	var drop, tail []*Link
	for _, l := range have {
		switch {
		case l.Node.Unread():
			// What it leads to could not be read: it stays, and counts as a link to its text.
			blocked[l.N] = true
			if l.Local {
				delete(missing, filepath.Clean(l.Node.Target))
			}
		case l.Node.Kind == durable.File && !l.Loads && l.Node.Err == nil:
			drop = append(drop, l)
		case l.Node.Kind != durable.Link: // not ours to touch
			blocked[l.N] = true
		case l.Local:
			t := filepath.Clean(l.Node.Target)
			if missing[t] { // a second link to the same target is not needed
				delete(missing, t)
				keep = append(keep, l)
			} else {
				drop = append(drop, l)
			}
		case l.Right:
			keep = append(keep, l)
		case l.Node.Err == nil && (!l.Node.Exists || l.Node.Waits || l.Node.IsRegular && !l.Loads):
			drop = append(drop, l)
		case l.Node.Err == nil && !l.Loads:
			tail = append(tail, l) // to a device or a directory: OpenSSL's search ends there
		default: // it leads to another file that exists, and mailcertd did not make it
			blocked[l.N] = true
		}
	}
	var add []string
	for _, t := range targets {
		if missing[t] {
			add = append(add, t)
		}
	}
	return arrange(hash, keep, drop, tail, blocked, add)
}

// arrange numbers the entries of one hash without gaps. Links that stay keep their numbers if they can; new links fill
// gaps first, then the last link moves into a gap. What OpenSSL cannot load gets the last numbers, because older
// releases stop their search there (3.0.22 goes on).
func arrange(hash uint32, keep, drop, tail []*Link, blocked map[int]bool, add []string) []LinkChange {
	at := map[int]*Link{}
	for _, l := range keep {
		at[l.N] = l
	}
	was := map[int]*Link{}
	for _, l := range slices.Concat(keep, drop, tail) {
		was[l.N] = l
	}
	put := map[int]string{}
	left := len(keep)
	end := 0
	for n := 0; left > 0 || len(add) > 0; n++ {
		end = n + 1
		switch {
		case blocked[n]:
		case at[n] != nil:
			delete(at, n)
			left--
		case len(add) > 0:
			put[n] = add[0]
			add = add[1:]
		default: // a gap: the last link moves into it
			last := -1
			for m := range at {
				last = max(last, m)
			}
			put[n] = at[last].Node.Target
			drop = append(drop, at[last])
			delete(at, last)
			left--
		}
	}
	taken := map[int]bool{}
	for _, l := range tail {
		taken[l.N] = l.N >= end
	}
	for _, l := range tail {
		if l.N >= end {
			continue
		}
		for blocked[end] || taken[end] {
			end++
		}
		put[end], taken[end] = l.Node.Target, true
	}
	var out []LinkChange
	numbers := make([]int, 0, len(put))
	for n := range put {
		numbers = append(numbers, n)
	}
	sort.Ints(numbers)
	for _, n := range numbers {
		c := LinkChange{Name: fmt.Sprintf("%08x.%d", hash, n), Target: put[n], Why: "missing"}
		if l := was[n]; l != nil {
			c.Why, c.Foreign = whyWrong(l), !l.Local
		}
		out = append(out, c)
	}
	for _, l := range drop {
		if _, replaced := put[l.N]; replaced {
			continue
		}
		out = append(out, LinkChange{Name: l.Name, Why: whyWrong(l), Foreign: !l.Local})
	}
	return out
}

func whyWrong(l *Link) string {
	switch {
	case !l.Node.Exists:
		return "a dangling link to " + l.Node.Target
	case l.Node.Waits:
		return "a link to " + l.Node.Target + ", a FIFO or device, on which OpenSSL may wait for ever"
	case !l.Loads && l.Node.Kind == durable.File:
		return "a file that OpenSSL cannot load"
	case !l.Loads && l.Node.Err == nil:
		return "a link to " + l.Node.Target + ", which ends OpenSSL's search"
	case !l.Right:
		return "outdated: there is no CA with this hash in " + l.Node.Target
	}
	return "no longer needed, or out of reach because a number before it is missing"
}
