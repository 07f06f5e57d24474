package daemon

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3gen"

	"netctl/api"
)

// An openAPI makes the document.
type openAPI struct {
	t       *testing.T
	gen     *openapi3gen.Generator
	schemas openapi3.Schemas
	types   map[string]string // documentation of types, and of fields as Type.Field
}

func newOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	o := &openAPI{t: t, schemas: openapi3.Schemas{}, types: map[string]string{}}
	o.readDocs("../api")
	o.readDocs("../config")
	o.gen = openapi3gen.NewGenerator(
		openapi3gen.SchemaCustomizer(o.customize),
		openapi3gen.CreateComponentSchemas(openapi3gen.ExportComponentSchemasOptions{ExportComponentSchemas: true, ExportTopLevelSchema: true}),
	)
	return o
}

// readDocs remembers the comments on the types of a package.
func (o *openAPI) readDocs(dir string) {
	o.t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		o.t.Fatalf("%s: %v", dir, err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			o.t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				o.readType(s.(*ast.TypeSpec), g.Doc)
			}
		}
	}
}

func (o *openAPI) readType(s *ast.TypeSpec, comment *ast.CommentGroup) {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return
	}
	o.types[s.Name.Name] = oneLine(comment)
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			text := oneLine(f.Doc)
			if text == "" {
				text = oneLine(f.Comment)
			}
			o.types[s.Name.Name+"."+n.Name] = text
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// customize completes a schema that was made from a Go type.
func (o *openAPI) customize(_ string, t reflect.Type, _ reflect.StructTag, s *openapi3.Schema) error {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		s.Nullable = true // and of any type
	case t.Kind() == reflect.Uint64:
		s.Max, s.Format = nil, "int64" // no JSON number is that large
	case t.Kind() == reflect.Struct && s.Properties != nil:
		o.describe(t, s)
	}
	return nil
}

// describe adds what a struct's comments say, and which of its fields are
// always there.
func (o *openAPI) describe(t reflect.Type, s *openapi3.Schema) {
	s.Description = o.types[t.Name()]
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.Properties[name]
		if p == nil {
			o.t.Fatalf("%s.%s is not in its schema", t.Name(), f.Name)
		}
		if !strings.HasPrefix(p.Ref, "#") { // it is not a type of its own
			p.Value.Description = o.types[t.Name()+"."+f.Name]
		}
		if !strings.HasPrefix(opts, "omit") {
			s.Required = append(s.Required, name)
		}
	}
}

// schema returns the schema of a value's type.
func (o *openAPI) schema(v any) *openapi3.SchemaRef {
	o.t.Helper()
	ref, err := o.gen.NewSchemaRefForValue(v, o.schemas)
	if err != nil {
		o.t.Fatal(err)
	}
	return ref
}

func (o *openAPI) document() *openapi3.T {
	d := &openapi3.T{
		OpenAPI: "3.0.3",
		Info: &openapi3.Info{
			Title: "netctl", Version: api.APIVersion,
			Description: "The REST API of netctld. Its conventions are in api.md beside this document. " +
				"Fields of a body that are not described here are ignored, so an object can be sent back as it was read.",
			License: &openapi3.License{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"},
		},
		Paths: openapi3.NewPaths(), Components: &openapi3.Components{
			Schemas: o.schemas, Parameters: openapi3.ParametersMap{}, Responses: openapi3.ResponseBodies{"Error": o.failure()},
		},
	}
	for name, text := range parameters {
		p := openapi3.NewQueryParameter(name).WithSchema(openapi3.NewStringSchema()).WithDescription(text)
		if name == "revision" || name == "timeout" {
			p.Schema = openapi3.NewIntegerSchema().NewRef()
		}
		d.Components.Parameters[name] = &openapi3.ParameterRef{Value: p}
	}
	d.Components.Parameters["If-Match"] = &openapi3.ParameterRef{Value: openapi3.NewHeaderParameter("If-Match").
		WithSchema(openapi3.NewStringSchema()).WithDescription("ETag of the object that the write is meant for; the answer is 412 when it has changed since.")}
	for _, r := range (&Daemon{}).routes() {
		d.AddOperation(r.path, r.method, o.operation(r))
	}
	for _, r := range (&Daemon{}).routes() {
		if r.in != nil {
			relax(o.schemas[reflect.TypeOf(r.in).Name()].Value)
		}
	}
	return d
}

// relax lets the body of a request leave fields out, and have null for them.
func relax(body *openapi3.Schema) {
	body.Required = nil
	for _, p := range body.Properties {
		if p.Ref == "" && (p.Value.Type.Is("object") || p.Value.Type.Is("array")) {
			p.Value.Nullable = true
			if of := p.Value.AdditionalProperties.Schema; of != nil && of.Ref == "" && of.Value.Type.Is("object") {
				of.Value.Nullable = true
			}
		}
	}
}

// failure describes what every route answers with when something is wrong.
func (o *openAPI) failure() *openapi3.ResponseRef {
	return &openapi3.ResponseRef{Value: openapi3.NewResponse().WithJSONSchemaRef(o.schema(api.Envelope{})).
		WithDescription("An error: `error_code` is the status, and `error` says what to do about it.")}
}

// operation describes one route.
func (o *openAPI) operation(r route) *openapi3.Operation {
	status, answer := o.answer(r)
	op := &openapi3.Operation{
		OperationID: operationID(r), Description: r.doc, Tags: []string{tag(r.path)},
		Responses: openapi3.NewResponses(openapi3.WithStatus(status, &openapi3.ResponseRef{Value: answer})),
	}
	if status == http.StatusCreated && r.takes("dry-run") {
		_, plan := o.answer(route{out: api.Plan{}})
		op.Responses.Set("200", &openapi3.ResponseRef{Value: plan.WithDescription("The plan of a dry run; nothing was created.")})
	}
	if r.begins {
		_, begun := o.answer(route{out: api.Operation{}})
		op.Responses.Set("202", &openapi3.ResponseRef{Value: begun.WithDescription("An operation was begun, which goes on.")})
	}
	for _, class := range []string{"4XX", "5XX"} {
		op.Responses.Set(class, &openapi3.ResponseRef{Ref: "#/components/responses/Error"})
	}
	for seg := range strings.SplitSeq(r.path, "/") {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			op.Parameters = append(op.Parameters, &openapi3.ParameterRef{Value: openapi3.NewPathParameter(strings.TrimSuffix(name, "}")).WithSchema(openapi3.NewStringSchema())})
		}
	}
	names := strings.Fields(r.query)
	if (r.method == http.MethodPut || r.method == http.MethodPatch || r.method == http.MethodDelete) && strings.HasPrefix(r.path, "/1.0") {
		names = append(names, "If-Match")
	}
	for _, name := range names {
		op.Parameters = append(op.Parameters, &openapi3.ParameterRef{Ref: "#/components/parameters/" + name})
	}
	if r.in != nil {
		op.RequestBody = &openapi3.RequestBodyRef{Value: openapi3.NewRequestBody().WithJSONSchemaRef(o.schema(r.in))}
	}
	return op
}

func header(text string) *openapi3.HeaderRef {
	return &openapi3.HeaderRef{Value: &openapi3.Header{Parameter: openapi3.Parameter{Description: text, Required: true, Schema: openapi3.NewStringSchema().NewRef()}}}
}

// answer describes what a route answers with when all goes well.
func (o *openAPI) answer(r route) (status int, resp *openapi3.Response) {
	resp = openapi3.NewResponse().WithDescription("Success.")
	switch {
	case r.raw != nil && r.media == "":
		o.schema(api.Event{})
		return http.StatusSwitchingProtocols, resp.WithDescription("From here on a websocket (RFC 6455), each of whose messages is an `Event`.")
	case r.raw != nil:
		body := openapi3.NewStringSchema()
		if r.media == openAPIMedia {
			body = openapi3.NewObjectSchema()
		}
		resp.Content = openapi3.NewContentWithSchema(body, []string{r.media})
		return http.StatusOK, resp
	case r.created:
		resp.Headers = openapi3.Headers{
			"Location": header("Path of the object."), api.HeaderRevision: header("Revision of the database that the write led to."),
		}
		status = http.StatusCreated
	default:
		status = http.StatusOK
	}
	envelope := openapi3.NewSchemaRef("#/components/schemas/Envelope", nil)
	if r.out == nil {
		return status, resp.WithJSONSchemaRef(envelope)
	}
	meta := o.schema(r.out)
	if reflect.TypeOf(r.out).Kind() != reflect.Struct && r.takes("recursion") {
		meta = openapi3.NewSchemaRef("", &openapi3.Schema{AnyOf: openapi3.SchemaRefs{o.schema(paths(r.out)), meta}})
	}
	return status, resp.WithJSONSchema(&openapi3.Schema{AllOf: openapi3.SchemaRefs{envelope, openapi3.NewSchemaRef("", &openapi3.Schema{
		Type: &openapi3.Types{"object"}, Properties: openapi3.Schemas{"metadata": meta},
	})}})
}

// paths returns a value of the type of a list without recursion.
func paths(list any) any {
	if reflect.TypeOf(list).Kind() == reflect.Map {
		return map[string][]string{}
	}
	return []string{}
}

// operationID names an operation, as in getNetworksByName.
func operationID(r route) string {
	id := strings.ToLower(r.method)
	for seg := range strings.SplitSeq(strings.TrimPrefix(r.path, "/1.0"), "/") {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			id += "By" + strings.ToUpper(name[:1]) + strings.TrimSuffix(name[1:], "}")
			continue
		}
		for word := range strings.SplitSeq(seg, "-") {
			if word != "" {
				id += strings.ToUpper(word[:1]) + word[1:]
			}
		}
	}
	if r.path == "/1.0" {
		id += "Server"
	}
	if r.path == "/" {
		id += "Versions"
	}
	return id
}

// tag names the group of operations that a path belongs to.
func tag(path string) string {
	seg := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case seg[0] == "internal":
		return "internal"
	case len(seg) > 1:
		return seg[1]
	}
	return "server"
}
