// Renders the chart as `helm template` would, with the same template engine and functions (text/template and sprig), for
// machines without Helm. Not Helm: no dependencies, hooks, lookup, or schema.
//
//	go run render.go CHART RELEASE [VALUES.yaml…]     with sprig and sigs.k8s.io/yaml on the GOPATH
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: render CHART RELEASE [VALUES.yaml…]"))
	}
	chart, release := os.Args[1], os.Args[2]
	values := read(filepath.Join(chart, "values.yaml"))
	for _, file := range os.Args[3:] {
		values = merge(values, read(file))
	}
	about := read(filepath.Join(chart, "Chart.yaml"))
	data := map[string]interface{}{
		"Values":  values,
		"Chart":   map[string]interface{}{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": map[string]interface{}{"Name": release, "Namespace": "default", "Service": "Helm", "Revision": 1},
	}
	set := template.New("chart").Option("missingkey=zero")
	funcs := sprig.TxtFuncMap()
	funcs["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := set.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	funcs["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	funcs["required"] = func(sentence string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", sentence)
		}
		return value, nil
	}
	set.Funcs(funcs)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	fail(err)
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		fail(err)
		_, err = set.New(filepath.Base(file)).Parse(string(text))
		fail(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		fail(set.ExecuteTemplate(&out, name, data))
		text := strings.TrimSpace(out.String())
		if text == "" || strings.HasSuffix(name, ".txt") {
			continue
		}
		fmt.Printf("---\n# Source: %s\n%s\n", name, text)
	}
}

func read(file string) map[string]interface{} {
	text, err := os.ReadFile(file)
	fail(err)
	value := map[string]interface{}{}
	fail(yaml.Unmarshal(text, &value))
	return value
}

func merge(below, above map[string]interface{}) map[string]interface{} {
	for key, value := range above {
		upper, isMap := value.(map[string]interface{})
		lower, wasMap := below[key].(map[string]interface{})
		if isMap && wasMap {
			below[key] = merge(lower, upper)
		} else {
			below[key] = value
		}
	}
	return below
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
