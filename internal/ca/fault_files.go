package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// modes reports a CA directory, a key file or a list of members to which other users than the owner have access.
func (o *Observed) modes() {
	if m := o.Dir.Mode.Perm(); m&0o077 != 0 {
		o.fault(FaultMode, "", true, "0700", fmt.Sprintf("%04o", m))
	}
	keys := []string{keyName}
	for _, g := range o.Older {
		keys = append(keys, filepath.Join(filepath.Base(g.Dir), keyName))
	}
	keys = append(keys, filepath.Join(nextName, keyName), membersName)
	for _, k := range keys {
		n := durable.Look(filepath.Join(o.Dir.Path, k))
		if n.Exists && n.Mode.Perm()&0o077 != 0 {
			o.fault(FaultMode, k, n.Kind == durable.File, "0600", fmt.Sprintf("%04o", n.Mode.Perm()))
		}
	}
}

// inTheWay reports directories, dangling links and special files in place of the files that `openssl ca` reads, and
// other files in place of its directories. It leaves out what was reported as another fault.
func (o *Observed) inTheWay() {
	for _, name := range []string{newCertsName, nextName, confName, attrName, serialName, crlNumName, indexName,
		certName, keyName} {
		n := durable.Look(filepath.Join(o.Dir.Path, name))
		want, got := "a file", ""
		if name == newCertsName || name == nextName {
			want = "a directory"
		}
		switch {
		case n.Kind == durable.Missing || slices.ContainsFunc(o.Faults, func(f Fault) bool { return f.Path == n.Path }):
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
			o.fault(FaultInTheWay, name, false, want, got)
			o.Faults[len(o.Faults)-1].Hint = "move it away; mailcertd does not delete it"
		}
	}
}

// reason says why a file of the CA cannot be used. A nil error means that the file was unusable when it was read and is
// usable by now.
func reason(err error) string {
	switch {
	case err == nil:
		return "it changed while it was read"
	case errors.Is(err, fs.ErrNotExist):
		return "it is missing"
	}
	return err.Error()
}

// converted is the hint for a file of the CA that is not in PEM, the only form that openssl ca reads; "" where err has
// another cause.
func converted(err error, path string) string {
	c := pki.ConversionOf(err, path)
	if c.Command == "" {
		return c.Advice
	}
	return "run `" + c.Command + " && mv " + c.Out + " " + c.In + "`"
}

// leftovers are temporary files that an interrupted write of mailcertd left, relative to the CA directory. Only the
// holder of the lock may write such files, so the caller, who holds it, may remove all of them.
func (o *Observed) leftovers() []string {
	var out []string
	dirs := []string{"", newCertsName, nextName}
	for _, g := range o.Older {
		dirs = append(dirs, filepath.Base(g.Dir))
	}
	for _, d := range dirs {
		names, err := durable.Names(filepath.Join(o.Dir.Path, d), 0)
		if err != nil {
			continue // a missing directory has none; other errors are reported by Observe
		}
		for _, n := range names {
			base, temporary := durable.TempOf(n)
			if temporary && Owns(filepath.Join(d, base), false) &&
				durable.Look(filepath.Join(o.Dir.Path, d, n)).Kind == durable.File {
				out = append(out, filepath.Join(d, n))
			}
		}
	}
	return out
}
