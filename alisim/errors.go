package alisim

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// problem is a refusal: the HTTP status, the code and the message belong together and are written down here only.
type problem struct {
	status  int
	code    string
	message string
	gateway bool   // the gateway itself refuses, not the service behind it
	detail  object // AccessDeniedDetail
	header  http.Header
}

func refuse(status int, code, message string) *problem {
	return &problem{status: status, code: code, message: message}
}

// malformedRequest is a refusal of the gateway, which could not read the request.
func malformedRequest(code, message string) *problem {
	p := refuse(http.StatusBadRequest, code, message)
	p.gateway = true
	return p
}

func missing(param string) *problem {
	return malformedRequest("Missing"+param, param+" is mandatory for this action.")
}

func wronglyFormed(param string) *problem {
	return refuse(http.StatusBadRequest, "InvalidParameter."+param, "The parameter "+param+" is wrongly formed.")
}

func invalidChars(param string) *problem {
	return refuse(http.StatusBadRequest, "InvalidParameter."+param+".InvalidChars",
		fmt.Sprintf("The parameter - %q contains invalid chars.", param))
}

func beyondLength(param string) *problem {
	return refuse(http.StatusBadRequest, "InvalidParameter."+param+".Length",
		fmt.Sprintf("The parameter - %q beyond the length limit.", param))
}

func wrongFormat(param string) *problem {
	return refuse(http.StatusBadRequest, "InvalidParameter."+param+".Format",
		fmt.Sprintf("The format of the parameter - %q is incorrect.", param))
}

func incorrect(param string) *problem {
	return refuse(http.StatusBadRequest, "InvalidParameter."+param,
		fmt.Sprintf("The parameter - %q is incorrect.", param))
}

// malformedPolicy is the refusal of a policy. Its sentence is free: the cloud's own where it is known.
func malformedPolicy(flaw error) *problem {
	message := "The policy document is invalid. " + flaw.Error()
	if known := sentence(""); errors.As(flaw, &known) {
		message = string(known)
	}
	return refuse(http.StatusBadRequest, "MalformedPolicyDocument", message)
}

// internalError is the refusal of a service that has broken.
func internalError(service string) *problem {
	message := "An internal error occurred."
	if service == "Sts" {
		message = "STS Server Internal Error happened, please send the RequestId to us."
	}
	return refuse(http.StatusInternalServerError, "InternalError", message)
}

// inactive is the refusal of a service that an account has never activated.
func inactive() *problem {
	return refuse(http.StatusNotFound, "Inactive", "Account is inactive to this service")
}

// signatureMismatch is the refusal of a wrong signature. It quotes what should have been signed.
func signatureMismatch(stringToSign string) *problem {
	p := gatewayProblem("SignatureDoesNotMatch")
	p.message += " server string to sign is:" + stringToSign
	return p
}

// gatewayProblem returns one of the gateway's own refusals, by code. A code that it does not know becomes InternalError.
func gatewayProblem(code string) *problem {
	p := gatewayRefusal(code)
	p.gateway = p.code != "InternalError"
	return p
}

func gatewayRefusal(code string) *problem {
	switch code {
	case "InvalidAccessKeyId.NotFound":
		return refuse(http.StatusNotFound, code, "Specified access key is not found.")
	case "InvalidAccessKeyId":
		return refuse(http.StatusNotFound, code, "Specified access key is not found or invalid.")
	case "InvalidAccessKeyId.Inactive":
		return refuse(http.StatusBadRequest, code, "Specified access key is disabled.")
	case "InvalidSecurityToken.Expired":
		return refuse(http.StatusBadRequest, code, "Specified SecurityToken is expired.")
	case "InvalidSecurityToken.Malformed":
		return refuse(http.StatusBadRequest, code, "Specified SecurityToken is malformed.")
	case "InvalidSecurityToken.MismatchWithAccessKey":
		return refuse(http.StatusBadRequest, code, "Specified SecurityToken mismatch with the AccessKey.")
	case "SignatureDoesNotMatch":
		return refuse(http.StatusBadRequest, code, "Specified signature is not matched with our calculation.")
	case "IncompleteSignature":
		return refuse(http.StatusBadRequest, code, "The request signature does not conform to Aliyun standards.")
	case "InvalidSignatureMethod":
		return refuse(http.StatusBadRequest, code, "Specified signature method is not valid.")
	case "SignatureNonceUsed":
		return refuse(http.StatusBadRequest, code, "Specified signature nonce was used already.")
	case "InvalidTimeStamp.Format":
		return refuse(http.StatusBadRequest, code, "Specified time stamp or date value is not well formatted.")
	case "InvalidTimeStamp.Expired":
		return refuse(http.StatusBadRequest, code, "Specified time stamp or date value is expired.")
	case "InvalidApi.NotFound":
		return refuse(http.StatusNotFound, code, "Specified api is not found, please check your url and method.")
	case "UnsupportedHTTPMethod":
		return refuse(http.StatusBadRequest, code, "This http method is not supported.")
	case "MissingSecurityToken":
		return refuse(http.StatusBadRequest, code, "SecurityToken is mandatory for this action.")
	case "InvalidParameter":
		return refuse(http.StatusBadRequest, code, `The specified parameter "Action or Version" is not valid.`)
	case "InvalidParameter.ContentType":
		return refuse(http.StatusBadRequest, code, `The ContentType request header must be either "application/json" or "application/x-www-form-urlencoded".`)
	case "RequestTooLarge":
		return refuse(http.StatusRequestEntityTooLarge, code, "The request is larger than this simulator accepts.")
	case "Throttling":
		return refuse(http.StatusBadRequest, code, "Request was denied due to request throttling.")
	case "Throttling.User":
		return refuse(http.StatusBadRequest, code, "Request was denied due to user flow control.")
	case "Throttling.Api":
		return refuse(http.StatusBadRequest, code, "Request was denied due to api flow control.")
	case "ServiceUnavailable":
		return refuse(http.StatusServiceUnavailable, code, "The request has failed due to a temporary failure of the server.")
	}
	return internalError("")
}

// ramProblem returns one of RAM's refusals, by code. The texts are the published ones, grammar included.
func ramProblem(code string) *problem {
	status := http.StatusConflict
	if strings.HasPrefix(code, "EntityNotExist.") {
		status = http.StatusNotFound
	}
	message, ok := ramMessages[code]
	if !ok {
		return gatewayProblem("InternalError")
	}
	return refuse(status, code, message)
}

var ramMessages = map[string]string{
	"EntityNotExist.User":              "The user does not exist.",
	"EntityNotExist.User.AccessKey":    "The user access key does not exist.",
	"EntityNotExist.User.LoginProfile": "The user login profile does not exist.",
	"EntityNotExist.User.MFADevice":    "The user has not bound any MFA device.",
	"EntityNotExist.User.Policy":       "The indicate policy of the user does not exist.",
	"EntityNotExist.User.Group":        "The user has not joined the group.",
	"EntityNotExist.Group":             "The group does not exist.",
	"EntityNotExist.Group.Policy":      "The indicate policy attached to the group does not exist.",
	"EntityNotExist.Policy":            "The policy does not exist.",
	"EntityNotExist.Policy.Version":    "The policy version does not exist.",
	"EntityNotExist.Role":              "The role does not exist.",
	"EntityNotExist.Role.Policy":       "The indicate policy attached to the role does not exist.",
	"EntityNotExist.VirtualMFADevice":  "The virtual mfa device does not exist.",

	"EntityAlreadyExists.User":              "The user does already EXIST.",
	"EntityAlreadyExists.User.Policy":       "The user has already been attached this policy.",
	"EntityAlreadyExists.User.Group":        "The user has already joined the group.",
	"EntityAlreadyExists.User.LoginProfile": "The user login profile does already EXIST.",
	"EntityAlreadyExists.User.MFADevice":    "The user has already bound a MFA device.",
	"EntityAlreadyExists.Group":             "The group does already EXIST.",
	"EntityAlreadyExists.Group.Policy":      "The group has already been attached this policy.",
	"EntityAlreadyExists.Policy":            "The policy does already EXIST.",
	"EntityAlreadyExists.Role":              "The role does already EXIST.",
	"EntityAlreadyExists.Role.Policy":       "The role has already been attached this policy.",
	"EntityAlreadyExists.VirtualMFADevice":  "The virtual mfa device does already EXIST.",

	"EntityAlreadyExists.VirtualMFADevice.User": "The virtual mfa device does already been bound to a user.",
	"EntityAlreadyExists.AccountAlias":          "The account alias does already exist.",

	"DeleteConflict.User.Group":             "The user CAN NOT be in any group while deleting the user.",
	"DeleteConflict.User.AccessKey":         "The user CAN NOT has any access key while deleting the user.",
	"DeleteConflict.User.LoginProfile":      "The user CAN NOT has any login profile while deleting the user.",
	"DeleteConflict.User.MFADevice":         "The user CAN NOT has any mfa device while deleting the user.",
	"DeleteConflict.User.Policy":            "The user CAN NOT has any attached policy while deleting the user.",
	"DeleteConflict.Policy.User":            "The policy CAN NOT been attached to any user while deleting the policy.",
	"DeleteConflict.Policy.Group":           "The policy CAN NOT been attached to any group while deleting the policy.",
	"DeleteConflict.Policy.Role":            "The policy CAN NOT been attached to any role while deleting the policy.",
	"DeleteConflict.Policy.Version":         "The policy CAN NOT has any version except the default version.",
	"DeleteConflict.Policy.Version.Default": "The default policy version CAN NOT been deleted directly.",
	"DeleteConflict.Role.Policy":            "The role CAN NOT has any attached policy while deleting the role.",
	"DeleteConflict.Group.User":             "The group CAN NOT has any user member while deleting the group.",
	"DeleteConflict.Group.Policy":           "The entity CAN NOT has any attached policy while deleting the group.",
	"DeleteConflict.VirtualMFADevice.User":  "The virtual mfa device CAN NOT been bound to any user while deleting it.",

	"LimitExceeded.User":             "The count of users beyond the current limits.",
	"LimitExceeded.User.AccessKey":   "The access key count of the user access keys beyond the current limits.",
	"LimitExceeded.User.Group":       "The count of groups the target user joined beyond the current limits.",
	"LimitExceeded.User.Policy":      "The policy count of the user attached policies beyond the current limits.",
	"LimitExceeded.VirtualMFADevice": "The count of virtual mfa devices beyond the current limits.",
	"LimitExceeded.Policy":           "The count of policy beyond the current limits.",
	"LimitExceeded.Policy.Version":   "The count of policy version beyond the current limits.",
	"LimitExceeded.Role":             "The count of roles beyond the current limits.",
	"LimitExceeded.Role.Policy":      "The count of policies attached to the role beyond the current limits.",
	"LimitExceeded.Group":            "The count of groups beyond the current limits.",
	"LimitExceeded.Group.Policy":     "The policy count of the group beyond the current limits.",
}
