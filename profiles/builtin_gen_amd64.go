// Code generated from the *.toml files by internal/gen. DO NOT EDIT.

package profiles

import _ "embed"

var (
	//go:embed base_amd64.bpf
	filterBase string
	//go:embed ci_amd64.bpf
	filterCi string
	//go:embed default_amd64.bpf
	filterDefault string
	//go:embed judge_amd64.bpf
	filterJudge string
	//go:embed kvm_amd64.bpf
	filterKvm string
	//go:embed strict_amd64.bpf
	filterStrict string
	//go:embed tenant_amd64.bpf
	filterTenant string
	//go:embed uml_amd64.bpf
	filterUml string
)

// builtinFilter returns the text of a filter, "" if there is none.
func builtinFilter(name string) string {
	switch name {
	case "base":
		return filterBase
	case "ci":
		return filterCi
	case "default":
		return filterDefault
	case "judge":
		return filterJudge
	case "kvm":
		return filterKvm
	case "strict":
		return filterStrict
	case "tenant":
		return filterTenant
	case "uml":
		return filterUml
	}
	return ""
}
