package plan

import "mailcertd/internal/pki"

// convertible completes a problem about a file that contains what sendmail needs, but not in PEM, the only form that
// sendmail reads: it adds the command that writes PEM. err is why the file cannot be used; any other cause changes
// nothing. pair says that `mailcertd install` takes what the file contains. The hint of a repairable problem is not
// shown, so its text has the command: without it the person's file would be replaced.
func convertible(pr Problem, err error, pair bool) Problem {
	c := pki.ConversionOf(err, pr.Path)
	run := "run `" + c.Command + " && mv " + c.Out + " " + c.In + "`"
	if pair && c.Several {
		run = "run `" + c.Command + "`, then `mailcertd install " + c.Out + "`"
	}
	switch {
	case c.Command == "" && !pr.Repairable && c.Advice != "":
		pr.Hint = c.Advice
	case c.Command != "" && !pr.Repairable:
		pr.Hint = "to use this file, " + run
	case c.Command != "":
		pr.Text += "; to use this file, " + run + " before `mailcertd ensure` replaces it"
	}
	return pr
}
