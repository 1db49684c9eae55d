package ca

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"mailcertd/internal/durable"
)

// memberFaults reports a list of members that cannot be read.
func memberFaults(o *Observed) []Fault {
	if o.membersErr == nil {
		return nil
	}
	return []Fault{{Kind: FaultMembers, Path: o.path(membersName), Got: o.membersErr.Error()}}
}

// interruptedFaults reports a change of generation that did not come to its end.
func interruptedFaults(o *Observed) []Fault {
	p, err := durable.OpenSet(nil, o.Dir.Path).Pending()
	switch {
	case err != nil || p.Err != nil:
		return []Fault{{Kind: FaultInterrupted, Path: o.path(""), Got: errors.Join(err, p.Err).Error()}}
	case p.Journal || p.Damaged || p.Empty || len(p.Staged) > 0:
		return []Fault{{Kind: FaultInterrupted, Path: o.path(""), Repairable: true}}
	}
	return nil
}

// modeFaults reports a CA directory, a key file or a list of members to which other users than the owner have access.
func modeFaults(o *Observed) (found []Fault) {
	if m := o.Dir.Mode.Perm(); m&0o077 != 0 {
		found = append(found, Fault{Kind: FaultMode, Path: o.path(""), Want: "0700", Got: fmt.Sprintf("%04o", m),
			Repairable: true})
	}
	keys := []string{keyName}
	for _, g := range o.Older {
		keys = append(keys, filepath.Join(filepath.Base(g.Dir), keyName))
	}
	keys = append(keys, filepath.Join(nextName, keyName), membersName)
	for _, k := range keys {
		n := durable.Look(o.path(k))
		if m := n.Mode.Perm(); n.Exists && m&0o077 != 0 {
			found = append(found, Fault{Kind: FaultMode, Path: n.Path, Want: "0600", Got: fmt.Sprintf("%04o", m),
				Repairable: n.Kind == durable.File})
		}
	}
	return found
}

// leftovers are temporary files that an interrupted write of mailcertd left, relative to the CA directory. Only the
// holder of the lock may write such files, so the caller, who holds it, may remove all of them.
func leftovers(o *Observed) []string {
	var out []string
	dirs := []string{"", NewCertsDir, nextName}
	for _, g := range o.Older {
		dirs = append(dirs, filepath.Base(g.Dir))
	}
	for _, d := range dirs {
		names, err := durable.Names(o.path(d), 0)
		if err != nil {
			continue // a missing directory has none; other errors are reported by Observe
		}
		for _, n := range names {
			base, temporary := durable.TempOf(n)
			if temporary && Owns(filepath.Join(d, base), false) &&
				durable.Look(o.path(filepath.Join(d, n))).Kind == durable.File {
				out = append(out, filepath.Join(d, n))
			}
		}
	}
	return out
}

// leftoverFaults reports them.
func leftoverFaults(o *Observed) (found []Fault) {
	for _, name := range leftovers(o) {
		n := durable.Look(o.path(name))
		found = append(found, Fault{Kind: FaultLeftover, Path: n.Path, Repairable: true, Since: n.Modified})
	}
	return found
}

// newCertsFaults reports a missing newcerts.
func newCertsFaults(o *Observed) []Fault {
	if durable.Look(o.path(NewCertsDir)).Kind != durable.Missing {
		return nil
	}
	return []Fault{{Kind: FaultNewCerts, Path: o.path(NewCertsDir), Repairable: true}}
}

// inTheWay reports directories, dangling links and special files in place of the files that `openssl ca` reads, and
// other files in place of its directories. It leaves out those of which reported has another fault.
func inTheWay(o *Observed, reported []Fault) (found []Fault) {
	for _, name := range []string{NewCertsDir, nextName, confName, attrName, serialName, crlNumName, indexName,
		certName, keyName} {
		n := durable.Look(o.path(name))
		want, got := "a file", ""
		if name == NewCertsDir || name == nextName {
			want = "a directory"
		}
		switch {
		case n.Kind == durable.Missing || slices.ContainsFunc(reported, func(f Fault) bool { return f.Path == n.Path }):
		case n.Kind == durable.Link && !n.Exists:
			got = "a link to " + n.Target + ", which does not exist"
		case n.Err != nil && !errors.Is(n.Err, durable.ErrNotRegular):
			got = n.Err.Error()
		case n.IsDir && want == "a file":
			got = "a directory"
		case !n.IsDir && want == "a directory":
			got = "a file"
		case !n.IsDir && !n.IsRegular:
			got = "a special file"
		}
		if got != "" {
			found = append(found, Fault{Kind: FaultInTheWay, Path: n.Path, Want: want, Got: got,
				Hint: "move it away; mailcertd does not delete it"})
		}
	}
	return found
}

// confFaults reports an openssl.cnf that is missing, or that an earlier mailcertd wrote.
func confFaults(o *Observed) []Fault {
	switch path := o.path(confName); {
	case durable.Look(path).Kind == durable.Missing:
		return []Fault{{Kind: FaultConf, Path: path, Repairable: true}}
	case newerConf(o.Dir.Path) != nil:
		return []Fault{{Kind: FaultConfOld, Path: path, Want: "rand_serial = yes", Repairable: true}}
	}
	return nil
}
