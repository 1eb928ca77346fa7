package runner

import _ "embed" // the schema is a file, for other tools to read

// ResultSchema is the JSON schema of a Result, version ResultVersion.
//
//go:embed result.schema.json
var ResultSchema string
