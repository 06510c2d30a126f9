package alisim

import "net/http"

// productActions are the calls of other products that the vendors' samples make with the credentials they have got, and
// one on a resource that can be in a resource group: one row each, whose answer is always the same. They show that keys
// and rights work elsewhere, and nothing else.
func productActions() []action {
	rows := []struct {
		product, version, name string
		bearer                 bool // takes bearer tokens too
		required               []string
		resource               func(*request) []string
		answer                 func(*request) object
	}{
		{product: "Ecs", version: "2014-05-26", name: "DescribeRegions", resource: anything, answer: regions},
		{product: "Ecs", version: "2014-05-26", name: "StartInstance", required: []string{"InstanceId"}, resource: on("instance", "InstanceId"), answer: nothingMore},
		{product: "CCC", version: "2020-07-01", name: "GetInstance", bearer: true, required: []string{"InstanceId"}, resource: on("instance", "InstanceId"), answer: callCenter},
	}
	out := make([]action, 0, len(rows))
	for _, row := range rows {
		out = append(out, action{
			service: row.product, version: row.version, name: row.name, bearer: row.bearer, required: row.required,
			resource: row.resource, forbidden: forbiddenRAM,
			handle: func(r *request) (object, *problem) { return row.answer(r), nil },
		})
	}
	return out
}

// forbiddenRAM is how products other than RAM and STS refuse somebody who lacks a right.
func forbiddenRAM() *problem {
	return refuse(http.StatusForbidden, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM.")
}

// nothingMore is an answer with a RequestId alone.
func nothingMore(*request) object { return nil }

func regions(*request) object {
	list := []object{}
	for _, id := range []string{"cn-hangzhou", "cn-shanghai", "ap-southeast-1"} {
		list = append(list, object{{"RegionId", id}, {"RegionEndpoint", "ecs." + id + ".aliyuncs.com"}, {"LocalName", id}})
	}
	return object{{"Regions", object{{"Region", list}}}}
}

func callCenter(r *request) object {
	id := r.get("InstanceId")
	return object{
		{"Code", "OK"},
		{"HttpStatusCode", http.StatusOK},
		{"Message", ""},
		{"Data", object{{"Id", id}, {"Name", id}, {"Description", ""}, {"DomainName", id}, {"Status", "Running"}, {"AliyunUid", r.who.account}}},
	}
}
